"""Profiles and the supervisor that runs the platform from them."""
