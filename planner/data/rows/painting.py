"""Generation and editing: new pictures, changed ones, painted-in parts, pictures along a layout; posts about them."""

from __future__ import annotations

import re

from planner.data.desk import Contents, Desk, Request
from planner.data.results import NoResult
from planner.data.rows.base import SingleRequest, argument, call
from services.core.spec import Symbol

_TAG_WORDS_MAX = 3
_BOXED = re.compile(r"\b(box|boxes|rectangle|frame|framed)\b", re.IGNORECASE)
_CLICKED = re.compile(r"\b(points?|click\w*|tap\w*|touch\w*|finger|press\w*|dot|cross|spot)\b", re.IGNORECASE)
_STOP = frozenset(
    {
        "the",
        "and",
        "for",
        "two",
        "put",
        "add",
        "make",
        "with",
        "into",
        "from",
        "turn",
        "like",
        "look",
        "this",
        "that",
        "there",
        "three",
        "many",
    }
)


def generate(desk: Desk) -> Request:
    return _painted(desk, "generate", "stable_diffusion", "{scene}", "Paint it.", "Here is your picture: {}.")


def edit(desk: Desk) -> Request:
    return _painted(desk, "edit", "instruct_pix2pix", "{edit}", "Edit it.", "Done: {}.")


def generate_post(desk: Desk) -> Request:
    return _posted(_painted(desk, "generate_post", "stable_diffusion", "{scene}", "Paint it.", "{}"), "")


def edit_post(desk: Desk) -> Request:
    return _posted(_painted(desk, "edit_post", "instruct_pix2pix", "{edit}", "Edit it.", "{}"), "New look: ")


def _painted(desk: Desk, wordings: str, skill: str, usual: str, thoughts: str, done: str) -> Request:
    wording, slots = desk.book.deal(wordings), desk.slots()
    text = slots.spoken(wording.text)
    prompt = argument(slots, wording, usual)
    needs = skill != "stable_diffusion"
    return Request(text, (call(skill, prompt=prompt),), thoughts, lambda got: done.format(prompt), needs_picture=needs)


def _posted(request: Request, opening: str) -> Request:
    prompt = str(request.actions[0].API_params["prompt"])
    return Request(
        request.text,
        request.actions,
        request.thoughts,
        lambda got: post(prompt, opening),
        needs_picture=request.needs_picture,
    )


def post(prompt: str, opening: str = "") -> str:
    """A short post about a picture, with hashtags from its words."""
    words = [word for word in re.findall(r"[a-z]+", prompt.lower()) if len(word) > 2 and word not in _STOP]
    tags = " ".join(f"#{word}" for word in dict.fromkeys(words[-_TAG_WORDS_MAX:]))
    said = opening + prompt
    return f"{said[:1].upper()}{said[1:]}! What do you think? {tags}".strip()


def inpaint_marked(desk: Desk) -> Request:
    """What is marked is cut out, then repainted; a drawn mask is repainted at once."""
    wording, slots = desk.book.deal("inpaint_marked"), desk.slots([])
    text = slots.spoken(wording.text)
    prompt = slots.fill("{a_new}")
    paint, done = call("inpainting", prompt=prompt), f"Done: {prompt} is there now."
    if desk.rng.random() < 0.35:
        return Request(text, (paint,), "Repaint there.", lambda got: done, given=(Symbol.MASK,))
    marks = marked(desk, wording.text)
    return Request(text, (call("sam"), paint), "Repaint there.", lambda got: done, marks)


def inpaint_named(desk: Desk) -> Request:
    wording, slots = desk.book.deal("inpaint_named"), desk.slots(present=1.0)
    text = slots.spoken(wording.text)
    caption, prompt = slots.asked[0], slots.fill("{a_new}")

    def answer(got: Contents) -> str:
        return f"Done: {prompt} instead of the {caption}."

    actions = (call("grounding_dino+sam", caption=caption), call("inpainting", prompt=prompt))
    return Request(text, actions, "Repaint there.", answer)


def marked(desk: Desk, text: str = "") -> dict[str, list[list[float]]]:
    """A box around a thing of the picture, or a point on it, as a person marks it; `text` may say which."""
    if not desk.picture.objects:
        raise NoResult("the picture has nothing to mark")
    box = desk.rng.choice(desk.picture.objects).box
    boxed, clicked = bool(_BOXED.search(text)), bool(_CLICKED.search(text))
    if (boxed and not clicked) or (boxed == clicked and desk.rng.random() < 0.5):
        return {"boxes": [[round(side, 2) for side in box]]}
    return {"points": [[round((box[0] + box[2]) / 2, 2), round((box[1] + box[3]) / 2, 2)]]}


def along_layout(desk: Desk) -> Request:
    """A map first, then a picture along it; the map alone is enough where there is one."""
    wording, slots = desk.book.deal("repaint"), desk.slots()
    text = slots.spoken(wording.text)
    prompt = slots.fill("{scene}")
    paint = call("controlnet", prompt=prompt)
    given = (Symbol.IMAGE_SEG,) if desk.rng.random() < 0.15 else ()
    actions = (paint,) if given else (call("openseed"), paint)
    return Request(
        text, actions, "Keep the layout.", lambda got: f"Here it is, in the same layout: {prompt}.", given=given
    )


def along_this_map(desk: Desk) -> Request:
    """A picture along a map that is there already."""
    slots = desk.slots()
    text = slots.spoken(desk.book.deal("follow_layout").text)
    prompt = slots.fill("{scene}")
    done = f"Here it is, in the same layout: {prompt}."
    return Request(text, (call("controlnet", prompt=prompt),), "Keep the layout.", lambda got: done)


GENERATION = SingleRequest("generation", "Image generation", ("stable_diffusion",), ((1.0, generate),))
EDITING = SingleRequest("editing", "Image editing", ("instruct_pix2pix",), ((1.0, edit),))
GENERATION_POST = SingleRequest(
    "generation_post", "Generation and social media post", ("stable_diffusion",), ((1.0, generate_post),), whole=True
)
EDITING_POST = SingleRequest(
    "editing_post", "Editing and social media post", ("instruct_pix2pix",), ((1.0, edit_post),), whole=True
)
INPAINTING = SingleRequest(
    "inpainting",
    "Interactive segmentation and inpainting",
    ("sam", "grounding_dino+sam", "inpainting"),
    ((1.0, inpaint_marked), (0.6, inpaint_named)),
    whole=True,
)
LAYOUT = SingleRequest(
    "layout", "Semantic segmentation and generation", ("openseed", "controlnet"), ((1.0, along_layout),), whole=True
)
