"""Rendered scenes on disk: memory-mapped arrays and one JSON record a scene, so that training need not draw them.

A folder holds images.npy, instances.npy, parts.npy, records.jsonl, meta.json and, when it is whole, a file DONE. What
a scene is depends on the seed and on its number alone, so that a folder serves whoever wants as many scenes or fewer,
and grows for whoever wants more; it can be read while it grows.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from services.embedded.alone import alone
from services.embedded.world.atlas import Atlas
from services.embedded.world.concepts import TRAIN_STYLES, UNSEEN_STYLES
from services.embedded.world.render import SIZE, Rendered, SeenObject, render
from services.embedded.world.scene import Scene, sample_scene, scene_rng
from services.embedded.world.sprites import WorldNotReady, atlas_path, load_atlas

WORLD_VERSION: Final = 2
"""Raise when the same seed gives other scenes or pixels: caches of another version are refused."""
DONE: Final = "DONE"
_CHUNK: Final = 100
_ARRAYS: Final = ("images", "instances", "parts")


class StaleCache(RuntimeError):
    """The folder cannot be used: it holds other scenes, is not finished, another process renders into it, or the disk
    has no room. The message says what to do."""


@dataclass(frozen=True, slots=True)
class CacheMeta:
    """What a folder holds.

    Attributes:
        count: number of scenes.
        seed: scene i is `sample_scene(scene_rng(seed, i), styles)`.
        styles: sprite styles of the scenes.
        size: side of the pictures in pixels.
        world: version of the generator and of its sprites.
    """

    count: int
    seed: int
    styles: tuple[str, ...]
    size: int = SIZE
    world: str = f"{WORLD_VERSION}/{atlas_path(Path()).stem}"

    @property
    def scene_bytes(self) -> int:
        """What a scene takes on disk, but for its record of about a kilobyte."""
        return 5 * self.size**2


class SceneCache(Sequence[Rendered]):
    """Scenes of one folder. Reading is lazy and safe in many processes; pickling sends the path alone.

    `images` [n, size, size, 3], `instances` and `parts` [n, size, size] are read-only memory-mapped uint8 arrays.

    Raises:
        StaleCache: the folder is no finished cache.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if not (self.folder / DONE).is_file():
            raise StaleCache(f"{self.folder} holds no finished scenes: render them with `llava-plus embedded render`.")
        self.meta = _read_meta(self.folder)
        if self.meta.world != _world():
            raise StaleCache(_others(self.folder, self.meta, replace(self.meta, world=_world())))
        self.images, self.instances, self.parts = (
            np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS
        )
        self._records = (self.folder / "records.jsonl").read_bytes().splitlines()
        if min(len(self._records), len(self.images)) < self.meta.count:
            raise StaleCache(f"{self.folder} is damaged: remove it, and render it again.")

    def __reduce__(self) -> tuple[Any, ...]:
        return SceneCache, (self.folder,)

    def __len__(self) -> int:
        return self.meta.count

    def __getitem__(self, index: Any) -> Any:
        """Scene `index`; its arrays are views of the files. A slice gives a list."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        record = json.loads(self._records[index])
        return Rendered(
            Scene.from_json(record["scene"]),
            self.images[index],
            self.instances[index],
            self.parts[index],
            tuple(SeenObject(**(item | {"box": tuple(item["box"])})) for item in record["objects"]),
        )

    def __iter__(self) -> Iterator[Rendered]:
        return (self[index] for index in range(len(self)))

    @classmethod
    def build(
        cls,
        folder: Path | str,
        count: int,
        seed: int,
        styles: Sequence[str] = TRAIN_STYLES,
        workers: int = 1,
        *,
        size: int = SIZE,
        atlas: Atlas | None = None,
        report: Callable[[str], None] = lambda line: None,
    ) -> SceneCache:
        """Render `count` scenes into `folder`, going on where an earlier call was interrupted or wanted fewer.

        A finished folder that holds more scenes is left as it is, and all of them are in the result.

        Args:
            workers: processes; 1 renders in this one. More need the shared atlas, so `atlas` must be None.
            report: is given a line with progress and time left after each chunk of 100 scenes.

        Raises:
            StaleCache: the folder holds scenes of another seed, size, style or world version, another process renders
                into it, a rendering process died, or the disk has no room.
            WorldNotReady: the sprites are missing and cannot be fetched.
        """
        folder = Path(folder)
        if workers > 1 and atlas is not None:
            raise ValueError("an atlas of your own is drawn from in one process: workers must be 1")
        meta = CacheMeta(count, seed, tuple(styles), size)
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder, StaleCache(f"Another process renders into {folder}: wait for it.")):
            done = _prepare(folder, meta)
            if done is None:
                return cls(folder)
            _check_room(folder, meta, count - done)
            chunks = [range(start, min(start + _CHUNK, count)) for start in range(done, count, _CHUNK)]
            if atlas is None and chunks:
                load_atlas()
            draw = partial(_render_chunk, folder, meta, atlas)
            started = time.monotonic()
            with (folder / "records.jsonl").open("ab") as records:
                for number, lines in enumerate(_results(draw, chunks, workers), start=1):
                    records.write(lines)
                    records.flush()
                    left = (time.monotonic() - started) / number * (len(chunks) - number)
                    report(f"{chunks[number - 1].stop} of {count} scenes, {left:.0f} s left")
            _write_meta(folder, meta)
            (folder / DONE).touch()
        return cls(folder)


def _results(draw: Callable[[range], bytes], chunks: Sequence[range], workers: int) -> Iterator[bytes]:
    if workers <= 1 or len(chunks) <= 1:
        yield from map(draw, chunks)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(chunks)), context, initializer=_start_worker)
    try:
        yield from pool.map(draw, chunks)
    except BrokenProcessPool:
        raise StaleCache(
            "A process that rendered scenes was killed: see to it that there is memory and room on the disk, and run "
            "the same again. It goes on where it was."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Ctrl-C is the parent's business, which lets the chunks at hand be finished."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _render_chunk(folder: Path, meta: CacheMeta, atlas: Atlas | None, chunk: range) -> bytes:
    """Write the chunk's arrays and return its records."""
    images, instances, parts = (np.load(folder / f"{name}.npy", mmap_mode="r+") for name in _ARRAYS)
    lines = []
    for index in chunk:
        drawn = render(sample_scene(scene_rng(meta.seed, index), meta.styles), meta.size, atlas)
        images[index], instances[index], parts[index] = drawn.image, drawn.instances, drawn.parts
        record = {"scene": drawn.scene.to_json(), "objects": [asdict(item) for item in drawn.objects]}
        lines.append(json.dumps(record, separators=(",", ":")).encode() + b"\n")
    for array in (images, instances, parts):
        array.flush()
    return b"".join(lines)


def _prepare(folder: Path, meta: CacheMeta) -> int | None:
    """Make the folder's files, or check and grow those there.

    Returns:
        How many scenes are done; None where the folder is finished and holds enough.
    """
    if (folder / "meta.json").is_file():
        held = _read_meta(folder)
        if replace(held, count=meta.count) != meta:
            raise StaleCache(_others(folder, held, meta))
        if (folder / DONE).is_file() and held.count >= meta.count:
            return None
        for name in _ARRAYS:
            _grow(folder / f"{name}.npy", meta.count)
        return min(_whole_records(folder / "records.jsonl"), meta.count)
    shape = (meta.count, meta.size, meta.size)
    for name in _ARRAYS:
        full: tuple[int, ...] = (*shape, 3) if name == "images" else shape
        array = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, full)  # type: ignore[no-untyped-call]
        del array
    (folder / "records.jsonl").write_bytes(b"")
    _write_meta(folder, meta)
    return 0


def _others(folder: Path, held: CacheMeta, wanted: CacheMeta) -> str:
    """That the folder holds other scenes: what is there, what was asked for, and what to do."""
    differing = [key for key, value in asdict(wanted).items() if key != "count" and asdict(held)[key] != value]
    there, asked = (", ".join(f"{key} {_plain(asdict(meta)[key])}" for key in differing) for meta in (held, wanted))
    return (
        f"{folder} holds {held.count} other scenes ({there}; wanted: {asked}): remove it, or choose another folder "
        "with --world."
    )


def _plain(value: Any) -> str:
    return "+".join(value) if isinstance(value, (list, tuple)) else str(value)


def _check_room(folder: Path, meta: CacheMeta, scenes: int) -> None:
    """Writing into a mapped file on a full disk kills the process: better not to begin."""
    needed, free = scenes * meta.scene_bytes, shutil.disk_usage(folder).free
    if needed > free:
        raise StaleCache(
            f"{scenes} scenes more take {needed / 1e9:.1f} GB in {folder}, and {free / 1e9:.1f} GB are free: make "
            "room, ask for fewer scenes, or choose another folder with --world."
        )


def _grow(path: Path, count: int) -> None:
    """Let an array file have at least `count` rows; new ones are zeros."""
    npy: Any = np.lib.format
    with path.open("r+b") as file:
        npy.read_magic(file)
        shape, _, kind = npy.read_array_header_1_0(file)
        start = file.tell()
        if shape[0] >= count:
            return
        row = int(np.prod(shape[1:])) * kind.itemsize
        file.truncate(start + count * row)
        # NumPy leaves room in the header for more digits of the first axis.
        header = {"descr": kind.str, "fortran_order": False, "shape": (count, *shape[1:])}
        file.seek(0)
        npy.write_array_header_1_0(file, header)
        assert file.tell() == start


def _whole_records(records: Path) -> int:
    """How many scenes have a record, after cutting off a line that an interruption left unfinished."""
    content = records.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(records, whole)
    return content.count(b"\n")


def _world() -> str:
    """The version of the world that this code draws."""
    return CacheMeta(0, 0, ()).world


def _write_meta(folder: Path, meta: CacheMeta) -> None:
    partial_file = folder / "meta.json.part"
    partial_file.write_text(json.dumps(asdict(meta), indent=2) + "\n", encoding="utf-8")
    partial_file.replace(folder / "meta.json")


def _read_meta(folder: Path) -> CacheMeta:
    try:
        data = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        return CacheMeta(**(data | {"styles": tuple(data["styles"])}))
    except (OSError, ValueError, TypeError, KeyError):
        raise StaleCache(f"{folder / 'meta.json'} cannot be read: remove {folder}, and render it again.") from None


def main() -> None:
    parser = argparse.ArgumentParser(description="Render scenes of the embedded world into a folder; resumes.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--unseen", action="store_true", help="draw in the style that nothing is trained on")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    styles = UNSEEN_STYLES if arguments.unseen else TRAIN_STYLES
    try:
        SceneCache.build(arguments.folder, arguments.count, arguments.seed, styles, arguments.workers, report=print)
    except (StaleCache, WorldNotReady) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
