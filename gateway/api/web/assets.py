"""Files that never change while the gateway runs: types, entity tags, compression, once at the start."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from fastapi.responses import Response

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "webp": "image/webp",
}
"""By the ending of a file's name; files with other endings are not served."""
_PACKED_ALREADY = frozenset({"webp"})


@dataclass(frozen=True, slots=True)
class Asset:
    """A file to serve: its bytes as they are and, where that makes them fewer, as gzip."""

    content: bytes
    packed: bytes | None
    media_type: str
    tag: str

    @classmethod
    def of(cls, name: str, content: bytes) -> Asset:
        ending = name.rpartition(".")[2]
        packed = None if ending in _PACKED_ALREADY else gzip.compress(content, mtime=0)
        tag = hashlib.sha256(content).hexdigest()[:20]
        return cls(content, packed if packed and len(packed) < len(content) else None, MEDIA_TYPES[ending], tag)

    def response(self, asked: Mapping[str, str], headers: Mapping[str, str]) -> Response:
        """The file with further headers, or 304 to a browser that has it."""
        all_headers = {
            **headers,
            "ETag": f'"{self.tag}"',
            "Vary": "Accept-Encoding",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        if self._known(asked.get("if-none-match", "")):
            return Response(status_code=304, headers=all_headers)
        content = self.content
        if self.packed is not None and "gzip" in asked.get("accept-encoding", ""):
            content = self.packed
            all_headers["Content-Encoding"] = "gzip"
        return Response(content, headers=all_headers | {"Content-Type": self.media_type})

    def _known(self, tags: str) -> bool:
        # A proxy that packs an answer makes its tag a weak one.
        return self.tag in {one.strip().removeprefix("W/").strip('"') for one in tags.split(",")}


def contents_of(folder: Traversable) -> dict[str, bytes]:
    """All servable files below a folder, by their path in it."""
    return {path: file.read_bytes() for path, file in _files(folder)}


def _files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        elif entry.name.rpartition(".")[2] in MEDIA_TYPES:
            yield f"{prefix}{entry.name}", entry
