"""Protocol adapters: they translate requests into calls of the ports and hold no logic of their own."""
