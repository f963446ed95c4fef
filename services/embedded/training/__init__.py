"""How a tiny checkpoint is trained: one loop for all recipes, resumable, on CPU or GPU.

`recipe` says what a recipe is, `loop` runs one, `state` keeps a cut run's progress, `curve` its figures,
`publish` writes the finished checkpoint with its model card.
"""
