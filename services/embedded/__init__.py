"""The synthetic world and the recipes that train the tiny checkpoints on it."""
