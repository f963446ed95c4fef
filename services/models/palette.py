"""Colours of segmentation maps: one for each class id, and back.

Ids 0 to 149 have the colours of ADE20K (https://groups.csail.mit.edu/vision/datasets/ADE20K, in the order of its
150-class benchmark), which segmentation ControlNets are trained on. That table gives road and skyscraper the same
grey; here skyscraper's blue is one higher, so that a map can be read back. Ids from 150 on get generated colours.
Black stands for no class.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

NO_CLASS = -1
"""The id that `class_ids` gives to black, and that `paint` paints black."""

CLASSES_MAX = 4096
"""How many class ids have a colour of their own."""

_ADE20K = bytes.fromhex(
    """
    787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33
    ff0652 8fff8c ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff
    08ffd6 07ffe0 ffb806 0aff47 ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff
    eb0cff a09614 00a3ff 8c8c8d fa0a0f 14ff00 1fff00 ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff
    0bc8c8 ff5200 00fff5 003dff 00ff70 00ff85 ff0000 ffa300 ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad
    0a00ff adff00 00ff99 ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8 001fff 00ff3d 0047ff ff00cc 00ffc2
    00ff52 000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff a3ff00 ffeb00 08b8aa
    8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00 ff00a3
    ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff
    00ffcc 2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
    """
)


@cache
def palette(count: int) -> NDArray[np.uint8]:
    """Colours of the class ids below `count` as a read-only [count, 3] RGB table, all different, none black.

    A shorter table is the beginning of a longer one.

    Raises:
        ValueError: more than `CLASSES_MAX` colours are asked for.
    """
    if not 0 <= count <= CLASSES_MAX:
        raise ValueError(f"A palette has 0 to {CLASSES_MAX} colours, not {count}.")
    known = np.frombuffer(_ADE20K, dtype=np.uint8).reshape(-1, 3)
    table = known[:count] if count <= len(known) else np.concatenate([known, _generated(count - len(known))])
    table.flags.writeable = False
    return table


def paint(ids: NDArray[np.integer], count: int) -> NDArray[np.uint8]:
    """Colour a map of class ids [height, width] below `count`: an RGB array [height, width, 3].

    Negative ids (`NO_CLASS`) become black.
    """
    with_black = np.concatenate([palette(count), np.zeros((1, 3), dtype=np.uint8)])
    painted: NDArray[np.uint8] = with_black[np.where(ids < 0, count, ids)]
    return painted


def class_ids(picture: NDArray[np.uint8], count: int, *, nearest: bool = False) -> NDArray[np.int64]:
    """Read a coloured map [height, width, 3] back: class ids [height, width] below `count`.

    Args:
        picture: what `paint` gave, perhaps after lossy compression.
        count: how many classes the map was painted with.
        nearest: give a pixel whose colour is in no table the id of the nearest colour (squared distance in RGB,
            black included) instead of `NO_CLASS`.
    """
    colours, where = np.unique(_packed(picture), return_inverse=True)
    table = np.concatenate([palette(count), np.zeros((1, 3), dtype=np.uint8)])
    ids_of_table = np.append(np.arange(count), NO_CLASS)
    if nearest:
        ids = ids_of_table[_nearest(_unpacked(colours), table)]
    else:
        order = np.argsort(_packed(table))
        known = _packed(table)[order]
        at = np.minimum(np.searchsorted(known, colours), count)
        ids = np.where(known[at] == colours, ids_of_table[order][at], NO_CLASS)
    read: NDArray[np.int64] = ids[where].reshape(picture.shape[:2])
    return read


def _generated(count: int) -> NDArray[np.uint8]:
    """The first `count` cells of a 16x16x16 grid of colours, far apart ones first, without ADE20K's."""
    index = np.arange(CLASSES_MAX)
    levels = np.zeros((CLASSES_MAX, 3), dtype=np.int64)
    for bit in range(12):
        levels[:, bit % 3] += (index >> bit & 1) << (3 - bit // 3)
    colours = (levels * 16 + 8).astype(np.uint8)
    taken = np.isin(_packed(colours), _packed(palette(len(_ADE20K) // 3)))
    return colours[~taken][:count]


def _nearest(colours: NDArray[np.int64], table: NDArray[np.uint8]) -> NDArray[np.int64]:
    """For each of [n, 3] colours the row of `table` that is nearest: |t|^2 - 2 c.t is least there."""
    rows = table.astype(np.float32)
    squares = (rows**2).sum(axis=1)
    parts = np.array_split(colours.astype(np.float32), len(colours) // 65536 + 1)
    return np.concatenate([(squares - 2 * part @ rows.T).argmin(axis=1) for part in parts])


def _packed(colours: NDArray[np.uint8]) -> NDArray[np.int64]:
    """[..., 3] colours as one number each, flattened."""
    flat = colours.reshape(-1, 3).astype(np.int64)
    packed: NDArray[np.int64] = flat[:, 0] << 16 | flat[:, 1] << 8 | flat[:, 2]
    return packed


def _unpacked(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=1)
