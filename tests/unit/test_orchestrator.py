from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from gateway.orchestrator.events import AnswerDelta, SkillFinished, SkillStarted, TurnEvent, TurnFinished, TurnRequest
from gateway.orchestrator.orchestrator import Orchestrator
from gateway.ports import SkillOutcome
from gateway.settings import GatewaySettings
from gateway.state.models import Session
from planner.api import PlannerDelta, PlannerDone, PlannerUnavailable, PlanRequest, PromptTooLong
from planner.conversation import ObservationTurn, UserTurn
from planner.format import Action, PlannerOutput, UnparsableOutput
from services.core.context import CallContext
from services.core.errors import SkillError, SkillFailed, UnknownSkill
from services.core.spec import SkillSpec, Symbol
from services.core.types import MaskRLE
from tests.gateway_fakes import FakeImages
from tests.skill_examples import Echo, Looker, Sketcher

PICTURE = "img_" + "a" * 40
OLDER = "img_" + "b" * 40


def act(*calls: tuple[str, dict[str, Any]]) -> PlannerOutput:
    return PlannerOutput(thoughts="t", actions=tuple(Action(API_name=n, API_params=p) for n, p in calls))


def answer(text: str) -> PlannerOutput:
    return PlannerOutput(thoughts="t", value=text)


class ScriptedPlanner:
    """Says what the script holds, one entry a call, and keeps what it was asked."""

    model = "scripted"

    def __init__(self, *script: PlannerOutput | Exception, cut: bool = False) -> None:
        self.script = list(script)
        self.cut = cut
        self.asked: list[PlanRequest] = []

    async def plan(
        self, request: PlanRequest, context: CallContext
    ) -> AsyncGenerator[PlannerDelta | PlannerDone, None]:
        self.asked.append(request)
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(said, Exception):
            raise said
        if said.is_answer:
            for word in said.value.split(" "):
                yield PlannerDelta(word)
        yield PlannerDone(said, prompt_tokens=10, completion_tokens=3, cut=self.cut)

    async def ready(self) -> bool:
        return True


class TwoSkills:
    """`echo` and `looker`. Calls wait for `gate`; `fails` is raised."""

    def __init__(self, fails: SkillError | None = None) -> None:
        self.fails = fails
        self.running = 0
        self.most_running = 0
        self.images: list[dict[Symbol, str]] = []
        self.deadlines: list[float] = []

    def specs(self) -> Sequence[SkillSpec]:
        return [Echo.spec(), Looker.spec()]

    def resolve(self, name: str) -> SkillSpec:
        for spec in self.specs():
            if name in spec.names:
                return spec
        raise UnknownSkill(f"No tool is called {name!r}.")

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        self.images.append(dict(images))
        self.deadlines.append(context.deadline)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        if self.fails is not None:
            raise self.fails
        return SkillOutcome(skill, {"text": str(args.get("text", "seen")), "batch_size": 1}, "weights", 1.0, 0.0)

    async def warm(self, skill: str) -> None:
        return None

    async def ready(self) -> Mapping[str, bool]:
        return {}


async def run(
    planner: ScriptedPlanner,
    skills: TwoSkills | None = None,
    *,
    session: Session | None = None,
    images: tuple[str, ...] = (PICTURE,),
    max_tokens: int | None = None,
    **limits: Any,
) -> tuple[list[TurnEvent], TurnFinished]:
    orchestrator = Orchestrator(planner, skills or TwoSkills(), FakeImages(), GatewaySettings(**limits))
    context = CallContext("req-1", "me", time.time() + 30)
    session = session or Session(id="sess_1", owner="me", created=0.0)
    request = TurnRequest(text="What is it?", images=images, max_tokens=max_tokens)
    events = [event async for event in orchestrator.run(request, session, context)]
    finished = events[-1]
    assert isinstance(finished, TurnFinished)
    return events, finished


async def test_an_answer_without_tools_is_streamed_and_remembered() -> None:
    events, finished = await run(ScriptedPlanner(answer("a cat")))
    assert [event.text for event in events if isinstance(event, AnswerDelta)] == ["a", "cat"]
    assert [turn.kind for turn in finished.session.conversation] == ["user", "assistant"]
    assert finished.session.images == [PICTURE]
    assert finished.session.turns[0].answer == finished.answer


async def test_results_go_back_to_the_planner_with_the_question_again() -> None:
    planner = ScriptedPlanner(act(("echo", {"text": "hello"})), answer("it says hello"))
    events, finished = await run(planner)
    observed = planner.asked[1].conversation[-1]
    assert isinstance(observed, ObservationTurn)
    assert observed.question == "What is it?"
    assert observed.observations[0].content == {"text": "hello", "batch_size": 1}
    assert any(isinstance(event, SkillStarted) and event.skill == "echo" for event in events)
    assert finished.usage.prompt_tokens == 20
    assert finished.steps[0].results[0]["checkpoint"] == "weights"


async def test_independent_actions_run_at_the_same_time() -> None:
    skills = TwoSkills()
    plan = act(("echo", {"text": "a"}), ("looker", {}))
    events, _ = await run(ScriptedPlanner(plan, answer("done")), skills)
    assert skills.most_running == 2
    assert [event.skill for event in events if isinstance(event, SkillFinished)] == ["echo", "looker"]


async def test_a_skill_gets_the_newest_picture_of_the_message_else_of_the_session() -> None:
    skills = TwoSkills()
    script = act(("looker", {})), answer("ok")
    await run(ScriptedPlanner(*script), skills, images=(OLDER, PICTURE))
    session = Session(id="s", owner="me", created=0.0, images=[PICTURE, OLDER])
    await run(ScriptedPlanner(*script), skills, images=(), session=session)
    both = Session(id="s", owner="me", created=0.0, images=[OLDER, PICTURE])
    _, again = await run(ScriptedPlanner(*script), skills, images=(OLDER,), session=both)
    assert [images[Symbol.IMAGE] for images in skills.images] == [PICTURE, OLDER, OLDER]
    assert again.session.images == [PICTURE, OLDER]


@pytest.mark.parametrize(
    ("action", "told"),
    [(("sam", {}), "No tool is called 'sam'"), (("looker", {}), "needs a picture")],
)
async def test_the_planner_is_told_what_was_wrong_with_its_call(action: tuple[str, dict[str, Any]], told: str) -> None:
    planner = ScriptedPlanner(act(action), answer("sorry"))
    _, finished = await run(planner, images=())
    observed = planner.asked[1].conversation[-1]
    assert isinstance(observed, ObservationTurn)
    assert observed.observations[0].failed
    assert told in observed.observations[0].content["error"]
    assert finished.answer.startswith("sorry\n\nNot done: ")


async def test_a_failed_skill_does_not_end_the_turn() -> None:
    skills = TwoSkills(fails=SkillFailed("It broke."))
    events, finished = await run(ScriptedPlanner(act(("echo", {"text": "a"})), answer("could not")), skills)
    (failed,) = [event for event in events if isinstance(event, SkillFinished)]
    assert failed.error is not None
    assert failed.error["kind"] == "skill_failed"
    assert finished.answer == "couldnot\n\nNot done: echo (it failed)."


async def test_the_last_step_may_only_answer() -> None:
    planner = ScriptedPlanner(act(("echo", {"text": "again"})))
    events, finished = await run(planner, turn_steps_max=3)
    assert [request.may_act for request in planner.asked] == [True, True, False]
    assert "again" in finished.answer
    assert sum(isinstance(event, SkillFinished) for event in events) == 2


async def test_no_more_skills_are_called_than_allowed() -> None:
    plan = act(*[("echo", {"text": str(i)}) for i in range(5)])
    events, _ = await run(ScriptedPlanner(plan, answer("done")), turn_calls_max=3)
    assert sum(isinstance(event, SkillFinished) for event in events) == 3


async def test_output_that_cannot_be_read_still_ends_in_an_answer() -> None:
    _, finished = await run(ScriptedPlanner(UnparsableOutput("no JSON", "mumble")))
    assert "ask in other words" in finished.answer
    assert finished.session.conversation[-1].kind == "assistant"


async def test_results_survive_a_planner_that_cannot_put_them_into_words() -> None:
    script = act(("echo", {"text": "precious"})), UnparsableOutput("no JSON", "mumble")
    _, finished = await run(ScriptedPlanner(*script))
    assert "precious" in finished.answer


async def test_an_empty_answer_is_never_given() -> None:
    _, finished = await run(ScriptedPlanner(answer("")))
    assert finished.answer.strip()


async def test_an_answer_that_was_cut_says_so() -> None:
    _, finished = await run(ScriptedPlanner(answer("half an"), cut=True), max_tokens=5)
    assert finished.finish_reason == "length"


async def test_a_limit_that_leaves_no_room_for_an_answer_is_what_the_answer_says() -> None:
    _, finished = await run(ScriptedPlanner(answer(""), cut=True), max_tokens=5)
    assert "max_tokens" in finished.answer
    assert finished.finish_reason == "length"


async def test_the_reply_is_never_longer_than_the_setting_allows() -> None:
    planner = ScriptedPlanner(answer("ok"))
    await run(planner, max_tokens=10_000, answer_tokens_max=64)
    assert planner.asked[0].max_tokens == 64


async def test_a_skill_call_has_its_own_deadline_within_the_turn() -> None:
    skills = TwoSkills()
    await run(ScriptedPlanner(act(("looker", {})), answer("ok")), skills, tool_deadline_s=5.0)
    assert skills.deadlines[0] <= time.time() + 5.0


async def test_the_planner_sees_only_the_last_turns_and_the_session_keeps_all() -> None:
    session = Session(id="s", owner="me", created=0.0)
    for _ in range(4):
        _, finished = await run(planner := ScriptedPlanner(answer("yes")), session=session, history_turns_max=2)
        session = finished.session
    seen = [turn for turn in planner.asked[0].conversation if isinstance(turn, UserTurn)]
    assert len(seen) == 3
    assert len(session.conversation) == 8
    assert len(session.turns) == 4


async def test_a_planner_that_is_away_is_an_error_of_the_turn() -> None:
    with pytest.raises(PlannerUnavailable):
        await run(ScriptedPlanner(PlannerUnavailable("away")))


async def test_results_too_long_for_the_planner_are_given_as_they_are() -> None:
    script = act(("echo", {"text": "a whole page"})), PromptTooLong("too long")
    _, finished = await run(ScriptedPlanner(*script))
    assert "a whole page" in finished.answer
    assert finished.finish_reason == "length"


async def test_a_question_that_is_too_long_by_itself_is_an_error_of_the_turn() -> None:
    with pytest.raises(PromptTooLong):
        await run(ScriptedPlanner(PromptTooLong("too long")))


class Sketching(TwoSkills):
    """`sketcher` too, which makes a picture, a map and a mask, or finds nothing."""

    found = True

    def specs(self) -> Sequence[SkillSpec]:
        return [*super().specs(), Sketcher.spec()]

    async def call(
        self, skill: str, args: Mapping[str, Any], images: Mapping[Symbol, str], context: CallContext
    ) -> SkillOutcome:
        if skill != "sketcher":
            return await super().call(skill, args, images, context)
        self.images.append(dict(images))
        pictures = {"edited_image": EDITED, "image_seg": MAP}
        halves = [np.array([[True, False, False]]), np.array([[False, True, False]])]
        masks = [MaskRLE.from_array(half).model_dump(mode="json") for half in halves] if self.found else []
        return SkillOutcome(skill, {**pictures, "masks_rle": masks}, "weights", 1.0, 0.0, pictures=pictures)


EDITED, MAP = "img_" + "e" * 40, "img_" + "5" * 40
SKETCH = act(("sketcher", {}))


async def test_a_picture_that_a_skill_makes_is_given_with_the_answer_and_becomes_the_current_one() -> None:
    skills = Sketching()
    _, finished = await run(ScriptedPlanner(SKETCH, act(("looker", {})), answer("done")), skills)
    assert skills.images == [{Symbol.IMAGE: PICTURE}, {Symbol.IMAGE: EDITED}]
    assert finished.produced == [EDITED, MAP]
    assert finished.session.images == [PICTURE, EDITED]
    assert finished.session.turns[0].produced_images == [EDITED, MAP]


async def test_a_later_turn_has_the_mask_and_the_map_until_another_picture_is_sent() -> None:
    _, first = await run(ScriptedPlanner(SKETCH, answer("done")), Sketching())
    assert first.session.symbols[Symbol.IMAGE_SEG] == MAP
    assert first.session.symbols[Symbol.MASK].startswith("img_")
    _, same = await run(ScriptedPlanner(answer("yes")), images=(), session=first.session)
    assert same.session.symbols == first.session.symbols
    _, other = await run(ScriptedPlanner(answer("yes")), images=(OLDER,), session=same.session)
    assert other.session.symbols == {}


async def test_a_skill_that_finds_no_object_leaves_the_session_without_a_mask() -> None:
    skills = Sketching()
    skills.found = False
    _, finished = await run(ScriptedPlanner(SKETCH, answer("nothing there")), skills)
    assert Symbol.MASK not in finished.session.symbols


async def test_a_skill_whose_mask_nobody_made_tells_the_planner_what_to_do() -> None:
    class Masked(Looker):
        """Needs a mask."""

        name = "masked"
        consumes = frozenset({Symbol.IMAGE, Symbol.MASK})

    skills = TwoSkills()
    skills.specs = lambda: [Masked.spec()]  # type: ignore[method-assign]
    planner = ScriptedPlanner(act(("masked", {})), answer("sorry"))
    await run(planner, skills)
    observed = planner.asked[1].conversation[-1]
    assert isinstance(observed, ObservationTurn)
    assert "needs a mask" in observed.observations[0].content["error"]
