"""Runs one turn: plan, validate, execute, observe, until the planner answers."""
