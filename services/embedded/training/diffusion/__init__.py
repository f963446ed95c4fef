"""What the recipes of diffusion checkpoints share: networks, prompts, the noise that is learned, scenes to paint."""
