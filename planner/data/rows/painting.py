"""Generation and editing: new pictures, changed ones, painted-in parts, pictures along a layout; posts about them."""

from __future__ import annotations

import re

from planner.data.desk import Contents, Desk, Request
from planner.data.phrasebook import Slots
from planner.data.results import NoResult
from planner.data.rows.base import SingleRequest, argument, call
from planner.data.rows.options import stated, stating
from planner.format import Action
from services.core.spec import Symbol

_TAG_WORDS_MAX = 3
_STATED_SHARE = 0.12
"""How often a wish states a seed, steps and the like."""
_SEVERAL_SHARE = 0.2
"""How often two or three new pictures are wished for at once, to one that is wished for alone."""
_MASK_SHARE = 0.55
"""How often a mask was drawn where a request does not say how its place is marked."""
_BOXED = re.compile(r"\b(b?box|boxes|boxed|rect|rectangle|frame|framed)\b", re.IGNORECASE)
_CLICKED = re.compile(
    r"\b(point(s|ed)?|click\w*|tap\w*|touch\w*|poked?|finger|press\w*|dot|cross|spot|pin|cursor)\b", re.IGNORECASE
)
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
    text, action, _ = _painted(desk, "generate", "stable_diffusion", "{scene}")
    done = f"Here is your picture: {action.API_params['prompt']}."
    return Request(text, (action,), "Paint it.", lambda got: done, needs_picture=False)


def generate_several(desk: Desk) -> Request:
    """Two or three new pictures in one message: a call for each in one plan."""
    wording, slots = desk.book.deal("generate_several"), desk.slots()
    slots.values.update({f"scene{number}": desk.slots([]).fill("{scene}") for number in (2, 3)})
    text = slots.spoken(wording.text)
    prompts = argument(slots, wording, "{scene}\t{scene2}").split("\t")
    actions = tuple(call("stable_diffusion", prompt=prompt, **stated(slots)) for prompt in prompts)
    done = f"Here are your pictures: {'; '.join(prompts)}."
    return Request(text, actions, "Several wishes.", lambda got: done, needs_picture=False)


def edit(desk: Desk) -> Request:
    text, action, _ = _painted(desk, "edit", "instruct_pix2pix", "{edit}")
    return Request(text, (action,), "Edit it.", lambda got: f"Done: {action.API_params['prompt']}.")


def generate_post(desk: Desk) -> Request:
    text, action, slots = _painted(desk, "generate_post", "stable_diffusion", "{scene}")
    said = post(action.API_params["prompt"], topic=slots.values.get("topic", ""))
    return Request(text, (action,), "Paint it.", lambda got: said, needs_picture=False)


def edit_post(desk: Desk) -> Request:
    text, action, slots = _painted(desk, "edit_post", "instruct_pix2pix", "{edit}")
    said = post(action.API_params["prompt"], "New look: ", slots.values.get("topic", ""))
    return Request(text, (action,), "Edit it.", lambda got: said)


def _painted(desk: Desk, wordings: str, skill: str, usual: str) -> tuple[str, Action, Slots]:
    wording, slots = desk.book.deal(wordings), desk.slots()
    text = slots.spoken(wording.text)
    return text, call(skill, prompt=argument(slots, wording, usual), **stated(slots)), slots


def post(prompt: str, opening: str = "", topic: str = "") -> str:
    """A short post about a picture, or about a topic that the picture goes with, with hashtags from the words."""
    words = [word for word in re.findall(r"[a-z]+", (topic or prompt).lower()) if len(word) > 2 and word not in _STOP]
    tags = " ".join(f"#{word}" for word in dict.fromkeys(words[-_TAG_WORDS_MAX:]))
    said = f"{topic}: {prompt}" if topic else opening + prompt
    return f"{said[:1].upper()}{said[1:]}! What do you think? {tags}".strip()


def inpaint_marked(desk: Desk) -> Request:
    """What is marked is cut out, then repainted; a drawn mask is repainted at once."""
    wording, slots = desk.book.deal("inpaint_marked"), desk.slots([])
    text = slots.spoken(wording.text)
    prompt = argument(slots, wording, "{a_new}")
    paint, done = call("inpainting", prompt=prompt, **stated(slots)), f"Done: {prompt} is there now."
    if not _placed(wording.text) and desk.rng.random() < _MASK_SHARE:
        return Request(text, (paint,), "Repaint there.", lambda got: done, given=(Symbol.MASK,))
    marks = marked(desk, wording.text)
    return Request(text, (call("sam"), paint), "Repaint there.", lambda got: done, marks)


def _placed(text: str) -> bool:
    """Whether a request speaks of a box or a click, so that no mask was drawn."""
    return bool(_BOXED.search(text) or _CLICKED.search(text))


def inpaint_named(desk: Desk) -> Request:
    wording, slots = desk.book.deal("inpaint_named"), desk.slots(present=1.0)
    text = slots.spoken(wording.text)
    caption, prompt = slots.asked[0], argument(slots, wording, "{a_new}")

    def answer(got: Contents) -> str:
        return f"Done: {prompt} instead of the {caption}."

    actions = (call("grounding_dino+sam", caption=caption), call("inpainting", prompt=prompt, **stated(slots)))
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
    prompt = argument(slots, wording, "{scene}")
    paint = call("controlnet", prompt=prompt, **stated(slots))
    given = (Symbol.IMAGE_SEG,) if desk.rng.random() < 0.15 else ()
    actions = (paint,) if given else (call("openseed"), paint)
    return Request(
        text, actions, "Keep the layout.", lambda got: f"Here it is, in the same layout: {prompt}.", given=given
    )


def along_this_map(desk: Desk) -> Request:
    """A picture along a map that is there already."""
    wording, slots = desk.book.deal("follow_layout"), desk.slots()
    text = slots.spoken(wording.text)
    prompt = argument(slots, wording, "{scene}")
    done = f"Here it is, in the same layout: {prompt}."
    return Request(text, (call("controlnet", prompt=prompt, **stated(slots)),), "Keep the layout.", lambda got: done)


GENERATION = SingleRequest(
    "generation",
    "Image generation",
    ("stable_diffusion",),
    ((1.0, stating(generate, _STATED_SHARE)), (_SEVERAL_SHARE, generate_several)),
)
EDITING = SingleRequest("editing", "Image editing", ("instruct_pix2pix",), ((1.0, stating(edit, _STATED_SHARE)),))
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
    ((1.0, stating(inpaint_marked, _STATED_SHARE)), (0.6, stating(inpaint_named, _STATED_SHARE))),
    whole=True,
)
LAYOUT = SingleRequest(
    "layout",
    "Semantic segmentation and generation",
    ("openseed", "controlnet"),
    ((1.0, stating(along_layout, _STATED_SHARE)),),
    whole=True,
)
