"""What keeps the gateway's users from reaching further than they should."""
