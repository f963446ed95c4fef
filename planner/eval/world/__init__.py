"""Whole turns in the embedded world: questions with known answers, asked of a running platform."""
