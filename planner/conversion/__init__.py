"""Original LLaVA and LLaVA-Plus checkpoints, rewritten in the layout that transformers and vLLM load."""
