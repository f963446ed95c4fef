"""Fine-tuning of planners: `llava-plus train CONFIG`, or `accelerate launch -m planner.train CONFIG` on many GPUs."""
