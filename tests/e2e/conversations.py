"""Conversations that every client must be able to have with the real platform, about scenes of the embedded world.

The first five are those of `tests.contract.conversations`, with real skills; the others are the composed rows of
LLaVA-Plus' Table 2. What is checked is what came of the calls (boxes and masks against the scene's labels, pictures and
their lineage), as the platform itself remembers it, so that it does not matter which planner chose them in which words.
`SCRIPT` is what a scripted planner does; the questions are such as a trained one understands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from planner.eval.world.checks import words_read
from planner.eval.world.shapes import boxes_are, mask_is, mask_of
from tests.contract.conversations import Said, Way, decoded
from tests.e2e.scenes import Scene
from tests.scripted_planner import Part, Results

GRASS, SEA, SIGN = "grass", "underwater", "sign2"
"""A pig and a koala on the grass; a whale and others under water; a sign that says "grape" and a television."""

READ = "What does the sign say?"
FIND_PIG, FIND_SHARK, FIND_WHALE = "Find the pig.", "Find the shark.", "Find the whale."
CUT_MARKED, CUT_THEM, CUT_WHALE = "Segment what I marked.", "Now cut it out.", "Segment the whale."
TAG, DESCRIBE = "Tag this picture.", "Describe the picture."
TAG_AND_CUT = "Tag it and cut out the koala."
EDIT_POST = "Make it night and write a post about it."
DRAW_POST = "Draw a whale under water and write a post about it."
EDIT_AGAIN = "Edit that again, but make it winter."
PUT_DOG = "Now put a dog there."
MAP, REPAINT = "Make a segmentation map.", "Paint a beach at night with the same layout."


class Platform:
    """What the platform remembers, read through its public API."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def offers(self) -> set[str]:
        return {tool["name"] for tool in self._json("/v1/tools")["data"]}

    def handle(self, data: bytes) -> str:
        """The handle of a picture: the same bytes have the same one."""
        stored = self._client.post("/v1/images", files={"file": data}).raise_for_status().json()
        return str(stored["id"])

    def turn(self, said: Said) -> dict[str, Any]:
        """The last turn of a session, which must have given the answer that the client shows."""
        turn: dict[str, Any] = self._json(f"/v1/sessions/{said.session}?debug=true")["turns"][-1]
        assert _letters(said.text) == _letters(turn["answer"])
        return turn

    def calls(self, said: Said) -> list[dict[str, Any]]:
        """The skill calls of that turn; none of them failed."""
        calls = [call for step in self.turn(said)["steps"] for call in step["results"]]
        assert not [call for call in calls if "error" in call], calls
        return calls

    def found(self, said: Said, what: str) -> Any:
        """The newest result of that turn that has a field `what`."""
        calls = self.calls(said)
        found = [call["result"][what] for call in calls if what in call["result"]]
        assert found, (
            f"no call gave {what}: {[call['skill'] for call in calls]} were made, and the answer is {said.text!r}"
        )
        return found[-1]

    def made(self, said: Said) -> dict[str, Any]:
        """The only picture of that turn, with its lineage; the client has shown it."""
        (handle,) = self.turn(said)["produced_images"]
        (shown,) = said.pictures
        assert shown == self._client.get(f"/v1/images/{handle}").raise_for_status().content
        return self._json(f"/v1/images/{handle}/info")

    def lineage(self, handle: str) -> dict[str, Any]:
        found: dict[str, Any] = self._json(f"/v1/images/{handle}/info")["lineage"]
        return found

    def _json(self, path: str) -> dict[str, Any]:
        body: dict[str, Any] = self._client.get(path).raise_for_status().json()
        return body


def text_is_read(way: Way, platform: Platform) -> None:
    scene = Scene(SIGN)
    said = way.ask(READ, [scene.data])
    assert not words_read(said.text, scene.sign)
    assert not words_read(" ".join(platform.found(said, "texts")), scene.sign)


def things_are_found(way: Way, platform: Platform) -> None:
    scene = Scene(GRASS)
    pig = way.ask(FIND_PIG, [scene.data])
    assert not boxes_are(platform.found(pig, "boxes"), scene.boxes("pig"))
    shark = way.ask(FIND_SHARK, [scene.data])
    assert platform.found(shark, "boxes") == []


def what_a_drawn_box_marks_is_cut_out(way: Way, platform: Platform) -> None:
    scene = Scene(GRASS)
    said = way.ask(CUT_MARKED, [scene.data], scene.boxes("pig"))
    assert not mask_is(mask_of(platform.found(said, "masks_rle")), [scene.mask("pig")])


def a_picture_is_edited_and_a_post_written(way: Way, platform: Platform) -> None:
    scene = Scene(GRASS)
    original = way.upload(scene.data)
    said = way.ask(EDIT_POST, [original])
    assert _made_by(platform, said, "instruct_pix2pix", {"image": original})
    assert _changed(scene.pixels, said).any()
    _is_a_post(said.text)


def the_next_question_is_about_the_last_picture(way: Way, platform: Platform) -> None:
    grass, sea = Scene(GRASS), Scene(SEA)
    first = way.ask(FIND_PIG, [grass.data])
    second = way.ask(FIND_WHALE, [sea.data], session=first.session)
    third = way.ask(CUT_WHALE, session=first.session)
    assert first.session == second.session == third.session
    assert not boxes_are(platform.found(third, "boxes"), sea.boxes("whale"))
    assert not mask_is(mask_of(platform.found(third, "masks_rle")), [sea.mask("whale")])
    newest = platform.handle(sea.data)
    assert {call["images"]["image"] for call in platform.calls(third)} == {newest}


def tags_are_right(tags: Iterable[str]) -> bool:
    """Of the scene on grass: both things are named, and nothing that is not there."""
    return {"pig", "koala"} <= set(tags) <= {"pig", "koala", "grass"}


def tags_boxes_and_masks_of_one_picture(way: Way, platform: Platform) -> None:
    scene = Scene(GRASS)
    tagged = way.ask(TAG, [scene.data])
    assert tags_are_right(platform.found(tagged, "tags"))
    found = way.ask(FIND_PIG, session=tagged.session)
    assert not boxes_are(platform.found(found, "boxes"), scene.boxes("pig"))
    cut = way.ask(CUT_THEM, session=tagged.session)
    assert not mask_is(mask_of(platform.found(cut, "masks_rle")), [scene.mask("pig")])
    both = way.ask(TAG_AND_CUT, session=tagged.session)
    assert tags_are_right(platform.found(both, "tags"))
    assert not mask_is(mask_of(platform.found(both, "masks_rle")), [scene.mask("koala")])


def a_caption_among_them(way: Way, platform: Platform) -> None:
    scene = Scene(GRASS)
    described = way.ask(DESCRIBE, [scene.data])
    caption = platform.found(described, "caption")
    assert "pig" in caption or "koala" in caption
    tagged = way.ask(TAG, session=described.session)
    assert tags_are_right(platform.found(tagged, "tags"))
    found = way.ask(FIND_PIG, session=described.session)
    assert not boxes_are(platform.found(found, "boxes"), scene.boxes("pig"))
    cut = way.ask(CUT_THEM, session=described.session)
    assert not mask_is(mask_of(platform.found(cut, "masks_rle")), [scene.mask("pig")])


def an_edited_picture_is_edited_again(way: Way, platform: Platform) -> None:
    scene = Scene(GRASS)
    first = way.ask(EDIT_POST, [scene.data])
    edited = platform.made(first)["id"]
    second = way.ask(EDIT_AGAIN, session=first.session)
    _made_by(platform, second, "instruct_pix2pix", {"image": edited})
    assert _changed(decoded(first.pictures[0]), second).any()


def what_was_cut_out_is_painted_over(way: Way, platform: Platform) -> None:
    scene = Scene(GRASS)
    original = platform.handle(scene.data)
    cut = way.ask(CUT_MARKED, [scene.data], scene.boxes("pig"))
    mask = mask_of(platform.found(cut, "masks_rle"))
    assert mask is not None
    painted = way.ask(PUT_DOG, session=cut.session)
    sources = _made_by(platform, painted, "inpainting", {"image": original})
    assert platform.lineage(sources["mask"])["skill"] == "sam"
    changed = _changed(scene.pixels, painted)
    assert changed[mask].any()
    assert not changed[~mask].any()


def a_map_is_painted_anew(way: Way, platform: Platform) -> None:
    scene = Scene(GRASS)
    mapped = way.ask(MAP, [scene.data])
    layout = platform.found(mapped, "image_seg")
    assert platform.lineage(layout)["images"] == {"image": platform.handle(scene.data)}
    painted = way.ask(REPAINT, session=mapped.session)
    assert _made_by(platform, painted, "controlnet", {"image_seg": layout})
    assert _changed(scene.pixels, painted).any()


def a_picture_is_painted_and_a_post_written(way: Way, platform: Platform) -> None:
    said = way.ask(DRAW_POST)
    _made_by(platform, said, "stable_diffusion", {})
    _is_a_post(said.text)


@dataclass(frozen=True)
class Conversation:
    """A conversation with the skills that it cannot do without."""

    have: Callable[[Way, Platform], None]
    needs: frozenset[str] = field(default_factory=frozenset)

    @property
    def name(self) -> str:
        return self.have.__name__


def _needing(have: Callable[[Way, Platform], None], *skills: str) -> Conversation:
    return Conversation(have, frozenset(skills))


FOR_EVERY_CLIENT: Sequence[Conversation] = (
    _needing(text_is_read, "easyocr"),
    _needing(things_are_found, "grounding_dino"),
    _needing(what_a_drawn_box_marks_is_cut_out, "sam"),
    _needing(a_picture_is_edited_and_a_post_written, "instruct_pix2pix"),
    _needing(the_next_question_is_about_the_last_picture, "grounding_dino", "grounding_dino+sam"),
)
COMPOSED: Sequence[Conversation] = (
    _needing(tags_boxes_and_masks_of_one_picture, "ram", "grounding_dino", "sam"),
    _needing(a_caption_among_them, "ram", "grounding_dino", "sam", "blip2"),
    _needing(what_was_cut_out_is_painted_over, "sam", "inpainting"),
    _needing(a_map_is_painted_anew, "openseed", "controlnet"),
    _needing(a_picture_is_painted_and_a_post_written, "stable_diffusion"),
    _needing(a_picture_is_edited_and_a_post_written, "instruct_pix2pix"),
    _needing(an_edited_picture_is_edited_again, "instruct_pix2pix"),
)


def _read(results: Results) -> str:
    return f"It says {results[0].get('text')}."


def _located(results: Results) -> str:
    return f"{len(results[-1].get('boxes', ()))} found."


def _done(results: Results) -> str:
    return f"Done, with {len(results)} call(s)."


def _posted(results: Results) -> str:
    return "A night like no other. Who is coming along? #wanderlust"


def _detect(caption: str) -> tuple[str, Mapping[str, Any]]:
    return "grounding_dino", {"caption": caption}


SCRIPT: Mapping[str, Part] = {
    READ: Part([[("easyocr", {})]], _read),
    FIND_PIG: Part([[_detect("pig")]], _located),
    FIND_SHARK: Part([[_detect("shark")]], _located),
    FIND_WHALE: Part([[_detect("whale")]], _located),
    CUT_MARKED: Part([[("sam", {"boxes": "$user.boxes"})]], _located),
    CUT_THEM: Part([[("sam", {"boxes": "$grounding_dino.boxes"})]], _located),
    CUT_WHALE: Part([[("grounding_dino+sam", {"caption": "whale"})]], _located),
    TAG: Part([[("ram", {})]], lambda results: f"Tags: {results[0].get('tags')}."),
    TAG_AND_CUT: Part([[("ram", {}), _detect("koala"), ("sam", {"boxes": "$2.boxes"})]], _done),
    DESCRIBE: Part([[("blip2", {})]], lambda results: f"I see {results[0].get('caption')}."),
    EDIT_POST: Part([[("instruct_pix2pix", {"prompt": "make it night", "seed": 7, "steps": 2})]], _posted),
    EDIT_AGAIN: Part([[("instruct_pix2pix", {"prompt": "make it winter", "seed": 7, "steps": 2})]], _done),
    DRAW_POST: Part([[("stable_diffusion", {"prompt": "a whale under water", "seed": 7, "steps": 2})]], _posted),
    PUT_DOG: Part([[("inpainting", {"prompt": "a dog", "seed": 7, "steps": 2})]], _done),
    MAP: Part([[("openseed", {})]], _done),
    REPAINT: Part([[("controlnet", {"prompt": "a beach at night", "seed": 7, "steps": 2})]], _done),
}


def _made_by(platform: Platform, said: Said, skill: str, sources: Mapping[str, str]) -> dict[str, str]:
    """The pictures that the turn's own picture was made from, by symbol; they are `sources` and maybe others."""
    made = platform.made(said)
    lineage: dict[str, Any] = made["lineage"]
    assert lineage["skill"] == skill
    images: dict[str, str] = lineage["images"]
    assert images.items() >= sources.items()
    assert made["id"] not in images.values()
    return images


def _changed(before: NDArray[np.uint8], said: Said) -> NDArray[np.bool_]:
    """Where the picture of an answer is another than `before`, [height, width]."""
    (after,) = (decoded(picture) for picture in said.pictures)
    assert after.shape == before.shape
    return np.asarray((after != before).any(axis=2))


def _is_a_post(text: str) -> None:
    assert re.search(r"#\w+", text), text
    assert len(text.split()) >= 4


def _letters(text: str) -> list[str]:
    return re.findall(r"\w+", text)
