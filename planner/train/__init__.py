"""Fine-tuning of planners. `python -m planner.train CONFIG` runs a recipe."""
