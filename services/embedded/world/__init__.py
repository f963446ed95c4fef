"""The synthetic world: seeded scenes of emoji-like sprites with exact labels, for training and scoring.

`concepts` says what there is, `sprites` fetches the pictures of it once into an atlas, `scene` samples scenes,
`render` draws them with boxes, masks and parts, `language` talks about them, `edits` changes them, and `cache`
keeps rendered scenes on disk.
"""
