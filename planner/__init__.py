"""The planner: an LMM that reads a conversation and says which skills to call, and what to answer."""
