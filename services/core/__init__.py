"""What every skill shares: contracts, errors, result types, the registry and the Serve deployment."""
