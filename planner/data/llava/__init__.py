"""LLaVA's own data (arXiv 2304.08485, section 3): written from captions and boxes, converted, and filtered pairs."""
