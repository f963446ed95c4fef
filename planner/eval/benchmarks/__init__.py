"""Runners for published benchmarks in the formats in which they are published. Their data is not shipped."""
