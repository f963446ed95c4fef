"""The `llava-plus` command."""
