"""One small file per skill."""
