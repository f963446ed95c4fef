"""Rendered scenes on disk: memory-mapped arrays and one JSON record a scene, so that training need not draw them.

A folder holds images.npy, instances.npy, parts.npy, records.jsonl, meta.json and, when it is whole, a file DONE.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from services.embedded.world.atlas import Atlas
from services.embedded.world.concepts import TRAIN_STYLES, UNSEEN_STYLES
from services.embedded.world.render import SIZE, Rendered, SeenObject, render
from services.embedded.world.scene import Scene, sample_scene, scene_rng
from services.embedded.world.sprites import atlas_path, load_atlas

WORLD_VERSION: Final = 2
"""Raise when the same seed gives other scenes or pixels: caches of another version are refused."""
DONE: Final = "DONE"
_CHUNK: Final = 100
_ARRAYS: Final = ("images", "instances", "parts")


class StaleCache(RuntimeError):
    """The folder holds other scenes than asked for, or is not finished; the message says what to do."""


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


class SceneCache(Sequence[Rendered]):
    """Scenes of one folder. Reading is lazy and safe in many processes; pickling sends the path alone.

    `images` [n, size, size, 3], `instances` and `parts` [n, size, size] are read-only memory-mapped uint8 arrays.

    Raises:
        StaleCache: the folder is no finished cache.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if not (self.folder / DONE).is_file():
            raise StaleCache(f"{self.folder} holds no finished scenes: build them with {__name__}.")
        self.meta = _read_meta(self.folder)
        self.images, self.instances, self.parts = (
            np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS
        )
        self._records = (self.folder / "records.jsonl").read_bytes().splitlines()

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
        """Render `count` scenes into `folder`, going on where an earlier call was interrupted.

        Args:
            workers: processes; 1 renders in this one. More need the shared atlas, so `atlas` must be None.
            report: is given a line with progress and time left after each chunk of 100 scenes.

        Raises:
            StaleCache: the folder holds scenes of another seed, size, style or world version.
            WorldNotReady: the sprites are missing and cannot be fetched.
        """
        folder = Path(folder)
        if workers > 1 and atlas is not None:
            raise ValueError("an atlas of your own is drawn from in one process: workers must be 1")
        meta = CacheMeta(count, seed, tuple(styles), size)
        done = _prepare(folder, meta)
        chunks = [range(start, min(start + _CHUNK, count)) for start in range(done, count, _CHUNK)]
        if atlas is None:
            load_atlas()
        draw = partial(_render_chunk, folder, meta, atlas)
        started = time.monotonic()
        with (folder / "records.jsonl").open("ab") as records:
            for number, lines in enumerate(_results(draw, chunks, workers), start=1):
                records.write(lines)
                records.flush()
                left = (time.monotonic() - started) / number * (len(chunks) - number)
                report(f"{chunks[number - 1].stop} of {count} scenes, {left:.0f} s left")
        (folder / DONE).touch()
        return cls(folder)


def _results(draw: Callable[[range], bytes], chunks: Sequence[range], workers: int) -> Iterator[bytes]:
    if workers <= 1:
        yield from map(draw, chunks)
        return
    with multiprocessing.get_context("spawn").Pool(workers, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.imap(draw, chunks)


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


def _prepare(folder: Path, meta: CacheMeta) -> int:
    """Make the folder's files, or check those there; returns how many scenes are done (whole chunks)."""
    if (folder / "meta.json").is_file():
        if _read_meta(folder) != meta:
            raise StaleCache(f"{folder} holds other scenes: remove it or choose another folder.")
        return _whole_chunks(folder / "records.jsonl", meta.count)
    folder.mkdir(parents=True, exist_ok=True)
    shape = (meta.count, meta.size, meta.size)
    for name in _ARRAYS:
        full: tuple[int, ...] = (*shape, 3) if name == "images" else shape
        array = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, full)  # type: ignore[no-untyped-call]
        del array
    (folder / "records.jsonl").write_bytes(b"")
    (folder / "meta.json").write_text(json.dumps(asdict(meta), indent=2) + "\n", encoding="utf-8")
    return 0


def _whole_chunks(records: Path, count: int) -> int:
    """How many scenes have a record, after cutting off what an interruption left of a chunk."""
    lines = records.read_bytes().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    done = count if len(whole) >= count else len(whole) // _CHUNK * _CHUNK
    if done < len(lines):
        records.write_bytes(b"".join(whole[:done]))
    return done


def _read_meta(folder: Path) -> CacheMeta:
    data = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    return CacheMeta(**(data | {"styles": tuple(data["styles"])}))


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
    SceneCache.build(arguments.folder, arguments.count, arguments.seed, styles, arguments.workers, report=print)


if __name__ == "__main__":
    main()
