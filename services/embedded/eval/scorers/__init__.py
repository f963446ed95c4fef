"""One scorer a skill."""
