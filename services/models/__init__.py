"""Architectures and loaders that skills share: plain torch, no Ray."""
