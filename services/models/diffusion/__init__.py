"""What skills on Stable Diffusion share: settings, loading, sizes, and batches of calls in one pipeline call."""
