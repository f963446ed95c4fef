"""Seeded random checkpoints of the true architectures, small enough for tests."""
