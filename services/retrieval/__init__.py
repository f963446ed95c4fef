"""Retrieval by CLIP vectors: a folder with a FAISS index, the vectors and what they stand for.

| file | holds |
|---|---|
| `manifest.json` | format, checkpoint, dimension, what was embedded, state of the last build |
| `vectors.f16` | one half-precision unit vector an entry, in order of their ids; memory-mapped |
| `metadata.sqlite` | caption, source and address of each entry by id |
| `index.faiss` | the search structure over the vectors; memory-mapped |

`vectors.f16` and `metadata.sqlite` are the truth: `index.faiss` can be made from them again.
"""
