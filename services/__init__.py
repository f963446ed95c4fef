"""Skills: vision tools, each an independently scaled Ray Serve application."""
