"""The gateway: protocol adapters, the orchestrator that runs turns, and state in Redis."""
