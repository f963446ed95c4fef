"""RAM and RAM++ (Recognize Anything, arXiv 2306.03514 and 2310.15200), in our own words.

`config` holds sizes and facts, `swin` the trunk, `tagging` the head, `model` both together, `checkpoint` our folders,
`original` the files of https://github.com/xinyu1205/recognize-anything.
"""
