"""Text forms of planner output: one dialect per file, all for the same internal model."""
