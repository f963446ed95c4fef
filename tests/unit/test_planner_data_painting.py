"""Painting rows: optional arguments that a wish states, topics of posts, and how a place is marked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from planner.conversation import AssistantTurn
from planner.data.desk import ChoiceMade, Desk, Request
from planner.data.phrasebook import Phrasebook, Wording, read_wordings
from planner.data.rows.base import call
from planner.data.rows.knowledge import look_up
from planner.data.rows.options import stated, stating
from planner.data.rows.painting import (
    along_layout,
    edit,
    generate,
    generate_post,
    generate_several,
    inpaint_marked,
    inpaint_named,
)
from planner.data.validation import Validator
from planner.data.wordings import lines
from tests.planner_data_scenes import desk, registry

PAINTERS = [generate, edit, inpaint_marked, inpaint_named, along_layout]
Maker = Callable[[Desk], Request]


class OneLine(Phrasebook):
    """A phrasebook whose file of one name holds nothing but one line."""

    def __init__(self, name: str, text: str, argument: str = "") -> None:
        super().__init__(0)
        self._name, self._only = name, Wording(text, argument)

    def deal(self, name: str, make: Callable[[], list[Wording]] | None = None) -> Wording:
        return self._only if name.split()[0] == self._name else super().deal(name, make)


@pytest.mark.parametrize("maker", PAINTERS)
def test_seed_and_steps_that_a_wish_states_are_arguments_of_the_painting(maker: Maker) -> None:
    one = desk(3)
    one.book = OneLine("options", "{wish}, seed {seed} and {steps} steps")
    request = stating(maker, 1.0)(one)
    params = request.actions[-1].API_params
    assert request.text.endswith(f" seed {params['seed']} and {params['steps']} steps")
    assert params["prompt"]
    assert params.keys() == {"prompt", "seed", "steps"}


@pytest.mark.parametrize("maker", [*PAINTERS, look_up])
def test_all_lines_of_options_make_valid_calls(maker: Maker) -> None:
    validator = Validator(registry())
    for seed in range(40):
        one = desk(seed, choice_only=True)
        before = {key for action in maker(desk(seed, choice_only=True)).actions for key in action.API_params}
        request = stating(maker, 1.0)(one)
        assert {key for action in request.actions for key in action.API_params} > before & {"prompt"}
        with suppress(ChoiceMade):
            one.perform(request)
        validator.check(one.conversation)


def test_arguments_stand_in_the_order_of_their_schema() -> None:
    one = desk(6)
    one.plan(Request("What is it?", (call("clip_retrieval", query="dog", top_k=5),), "", lambda got: ""))
    planned = one.turns[0]
    assert isinstance(planned, AssistantTurn)
    assert [*planned.output.actions[0].API_params] == ["top_k", "query"]


def test_a_wish_that_states_options_gets_no_others() -> None:
    one = desk(7)
    one.book = OneLine("generate", "{scene}, seed {seed}")
    assert stating(generate, 1.0)(one).actions[0].API_params.keys() == {"prompt", "seed"}


def test_a_wish_that_states_nothing_leaves_all_options_to_the_skill() -> None:
    for seed in range(20):
        one = desk(seed)
        one.book = OneLine("edit", "{edit}")
        assert stating(edit, 0.0)(one).actions[0].API_params.keys() == {"prompt"}


def test_every_line_of_options_holds_the_wish_and_states_something() -> None:
    for wording in read_wordings("options", kinds=True):
        slots = desk(1).slots()
        slots.values["wish"] = "Draw a cat"
        assert "Draw a cat" in slots.fill(wording.text)
        assert stated(slots), wording


def test_options_may_stand_in_the_middle_of_a_wording() -> None:
    one = desk(2)
    one.book = OneLine("generate", "A {side} by {side2} picture without {negative}: {scene}")
    request = generate(one)
    params = request.actions[0].API_params
    assert all(str(side) in request.text for side in params["size"])
    assert set(params) == {"prompt", "size", "negative_prompt"}
    assert params["negative_prompt"] in request.text


def test_the_mark_at_the_end_of_a_wish_is_kept_alone() -> None:
    one = desk(4)
    one.book = OneLine("options", "{wish}. Seed {seed}.")
    wish = Request("Can you draw it?", generate(desk(4)).actions, "", lambda got: "")
    assert stating(lambda _: wish, 1.0)(one).text.startswith("Can you draw it? Seed ")


def test_the_topic_of_a_post_is_not_what_is_painted() -> None:
    one = desk(5)
    one.book = OneLine("generate_post", "A picture of {a_new} and a post on {topic}", "{a_new}")
    request = generate_post(one)
    prompt = str(request.actions[0].API_params["prompt"])
    topic = next(each for each in lines("topics.txt") if each in request.text)
    assert prompt in request.text
    assert topic not in prompt
    assert topic.lower() in request.answer([]).lower()


@pytest.mark.parametrize(
    ("text", "marks"), [("box -> {new}", {"boxes"}), ("{new} where I clicked", {"points"}), ("mask: {new}", None)]
)
def test_a_request_that_speaks_of_a_box_or_a_click_comes_with_one(text: str, marks: set[str] | None) -> None:
    seen = set()
    for seed in range(20):
        one = desk(seed)
        one.book = OneLine("inpaint_marked", text)
        request = inpaint_marked(one)
        seen.add(bool(request.given))
        assert marks is None or set(request.marks) == marks
    assert seen == ({False} if marks else {True, False})


def test_pictures_wished_for_together_are_painted_by_a_call_each() -> None:
    for seed in range(40):
        one = desk(seed)
        one.book = OneLine("generate_several", "Paint {scene} and, separately, {scene2}.")
        request = generate_several(one)
        first, second = (action.API_params["prompt"] for action in request.actions)
        assert [action.API_name for action in request.actions] == ["stable_diffusion"] * 2
        assert first != second
        assert all(prompt.lower() in request.text.lower() for prompt in (first, second))


def test_every_line_for_several_pictures_means_two_or_three_different_ones() -> None:
    validator = Validator(registry())
    for wording in read_wordings("generate_several"):
        one = desk(5)
        one.book = OneLine("generate_several", wording.text, wording.argument)
        request = generate_several(one)
        prompts = [action.API_params["prompt"] for action in request.actions]
        assert len(set(prompts)) == len(prompts), wording
        assert len(prompts) in (2, 3), wording
        one.perform(request)
        validator.check(one.conversation)
