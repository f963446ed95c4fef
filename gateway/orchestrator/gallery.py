"""The pictures of a conversation by name: "image 2", "the second picture", "the last one", or the client's own name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from gateway.state.models import Session, SessionPicture

_NOUN = r"(?:image|picture|photo|pic|img)"
_NUMBERED = re.compile(rf"{_NOUN}\W*(\d{{1,6}})", re.ASCII)
_ORDINAL = re.compile(rf"(\d{{1,6}})(?:st|nd|rd|th)(?: {_NOUN})?", re.ASCII)
_NEWEST = re.compile(rf"(?:{_NOUN}|(?:last|latest|newest|current|this)(?: (?:one|{_NOUN}))?)", re.ASCII)
_PREVIOUS = re.compile(rf"previous(?: (?:one|{_NOUN}))?", re.ASCII)
_WORDS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_WORD = re.compile(rf"({'|'.join(_WORDS)})(?: (?:one|{_NOUN}))?", re.ASCII)


class Gallery:
    """Pictures numbered from 1 in the order in which they first appeared, sent or made.

    Args:
        pictures: with their numbers, lowest first.
        newest: the current picture.
    """

    def __init__(self, pictures: Sequence[SessionPicture] = (), newest: str | None = None) -> None:
        self.pictures = tuple(pictures)
        self.newest = newest

    @classmethod
    def of(cls, session: Session) -> Gallery:
        known = {picture.handle for picture in session.pictures}
        gallery = cls(session.pictures)
        for handle in session.images:
            gallery = gallery if handle in known else gallery.with_picture(handle)
        return cls(gallery.pictures, session.images[-1] if session.images else None)

    def with_picture(self, handle: str, name: str | None = None) -> Gallery:
        """With one more picture, now the newest; one that is known keeps its number."""
        known = [picture for picture in self.pictures if picture.handle == handle]
        others = [
            picture.model_copy(update={"name": None}) if name and _same(picture.name, name) else picture
            for picture in self.pictures
            if picture.handle != handle
        ]
        number = known[0].number if known else max((picture.number for picture in self.pictures), default=0) + 1
        kept = SessionPicture(number=number, handle=handle, name=name or (known[0].name if known else None))
        return Gallery(sorted([*others, kept], key=lambda picture: picture.number), handle)

    def with_pictures(self, handles: Iterable[str], names: Sequence[str | None] = ()) -> Gallery:
        gallery = self
        for index, handle in enumerate(handles):
            gallery = gallery.with_picture(handle, names[index] if index < len(names) else None)
        return gallery

    def find(self, words: str) -> str | None:
        """The handle that a person's or planner's words mean; None when they name no picture."""
        said = words.strip().strip("$<>\"'")
        wanted = said.casefold().replace("_", " ").removeprefix("the ").strip()
        for picture in self.pictures:
            if said == picture.handle or _same(picture.name, wanted):
                return picture.handle
        if _NEWEST.fullmatch(wanted):
            return self.newest
        if _PREVIOUS.fullmatch(wanted):
            others = [picture.handle for picture in self.pictures if picture.handle != self.newest]
            return others[-1] if others else None
        numbered = _NUMBERED.fullmatch(wanted) or _ORDINAL.fullmatch(wanted)
        word = _WORD.fullmatch(wanted)
        number = int(numbered[1]) if numbered else _WORDS.index(word[1]) + 1 if word else None
        return next((picture.handle for picture in self.pictures if picture.number == number), None)

    def name_of(self, handle: str) -> str | None:
        """ "image 2", or None for what is not among the pictures."""
        return next((f"image {one.number}" for one in self.pictures if one.handle == handle), None)

    def names(self) -> str:
        """All names, for an error message."""
        shown = [f"image {one.number}" + (f" ({one.name})" if one.name else "") for one in self.pictures]
        return ", ".join(shown) or "none"


def _same(name: str | None, other: str) -> bool:
    return name is not None and name.casefold().replace("_", " ").removeprefix("the ").strip() == (
        other.casefold().replace("_", " ").removeprefix("the ").strip()
    )
