"""Plug and learn: teaches a planner a new tool from the tool's spec and some seed questions."""
