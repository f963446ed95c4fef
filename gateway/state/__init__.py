"""State in Redis: pictures and sessions."""
