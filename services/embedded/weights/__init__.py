"""The shipped checkpoints, one folder each, in the layout that `from_pretrained` loads."""
