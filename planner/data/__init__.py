"""Training data: the released LLaVA-Plus form, hand-written wordings and generators."""
