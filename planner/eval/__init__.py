"""Scoring of planners."""
