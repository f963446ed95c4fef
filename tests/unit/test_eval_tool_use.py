"""Scoring tool use: what counts as a right call, what as a wrong one, and what a report says of both."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from deploy.evaluation import told_skills, words
from planner.api import PlannerDone, PlannerEvent, PlanRequest
from planner.conversation import AssistantTurn, ObservationTurn, UserTurn
from planner.eval.cases import CONVERSATION, DEVELOPMENT, REFUSED, Case, load_cases, sampled
from planner.eval.command import offered, stand_in_picture
from planner.eval.figures import Share, table
from planner.eval.gateway import GatewayClient, GatewayPlayer
from planner.eval.journal import Journal, JournalError
from planner.eval.matching import Tools
from planner.eval.playing import PlannerPlayer, Played
from planner.eval.tool_use import figures, judged, play_all, to_json, to_markdown
from planner.format import Action, PlannerOutput, UnparsableOutput
from services.core.context import CallContext
from tests.gateway_transport import chat_transport

TOOLS = Tools(offered(()))
REPORTED = load_cases()
CASES = {case.id: case for case in (*REPORTED, *load_cases(DEVELOPMENT))}


def call(name: str, **params: Any) -> dict[str, Any]:
    return {"API_name": name, "API_params": params}


def verdict(case: Case, *calls: dict[str, Any], answer: str | None = None, broken: str = "") -> Any:
    return judged(case, Played(actions=list(calls), answer=answer, broken=broken), TOOLS)


def case_of(accept: list[Any], **more: Any) -> Case:
    given = {"id": "x", "row": "detection", "manner": "short", "text": "Where is the zebra?", "accept": accept}
    return Case.model_validate(given | more)


ZEBRA = case_of([[[{"skill": "grounding_dino", "args": {"caption": {"has": ["zebra"]}}}]]])


def test_the_requests_cover_every_row_and_manner_and_none_is_there_twice() -> None:
    rows = {row: sum(case.row == row for case in REPORTED) for row in {case.row for case in REPORTED}}
    assert len(REPORTED) >= 400
    assert rows.pop(CONVERSATION) >= 50
    assert rows.pop(REFUSED) >= 25
    assert len(rows) == 20
    assert min(rows.values()) >= 19
    assert len({case.manner for case in REPORTED}) == 12
    cases = [*REPORTED, *load_cases(DEVELOPMENT)]
    assert len({case.model_copy(update={"id": ""}).model_dump_json() for case in cases}) == len(cases)


def test_every_expected_call_is_one_that_an_installed_skill_can_take() -> None:
    for case in CASES.values():
        for expected in (expected for way in case.accept for group in way for expected in group):
            fields = TOOLS.by_name[expected.skill].args_model.model_fields
            assert expected.args.keys() <= fields.keys(), case.id
            if expected.marks:
                assert getattr(case.given.marks, expected.marks), case.id
            required = {name for name, field in fields.items() if field.is_required()}
            assert required <= expected.args.keys(), case.id


def test_every_skill_is_wanted_by_many_requests() -> None:
    wanted = [{call.skill for group in case.accept[0] for call in group} for case in REPORTED]
    counts = {spec.name: sum(spec.name in skills for skills in wanted) for spec in TOOLS.specs}
    assert min(counts.values()) >= 19, counts


def test_earlier_results_are_such_as_the_skills_show_to_planners() -> None:
    from planner.eval.stock import stock_result

    for case in CASES.values():
        for event in case.before:
            if event.call is not None and event.result is not None:
                shown = stock_result(event.call.skill, event.call.args) | {"edited_image": ""}
                assert event.result.keys() <= shown.keys() | {"image_seg"}, case.id


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ({"caption": "zebra"}, None),
        ({"caption": "the zebras . grass"}, None),
        ({"caption": "zebra", "box_threshold": 0.3}, None),
        ({"caption": "horse"}, "grounding_dino.caption: lacks zebra"),
        ({}, "grounding_dino.caption: missing"),
        ({"caption": ""}, "grounding_dino.caption: missing"),
        ({"caption": "zebra", "box_threshold": 0.5}, "grounding_dino.box_threshold: not asked for"),
        (
            {"caption": "please tell me where in this picture the zebra is"},
            "grounding_dino.caption: a sentence, not names of things",
        ),
        ({"caption": "zebra", "image": "image 1"}, None),
        ({"caption": "zebra", "image": "image 7"}, "grounding_dino.image: names another picture"),
        ({"caption": "zebra", "colour": "red"}, "grounding_dino.colour: not asked for"),
    ],
)
def test_arguments_are_right_or_the_fault_is_named(params: dict[str, Any], fault: str | None) -> None:
    found = verdict(ZEBRA, call("grounding_dino", **params))
    assert found.choice
    assert found.faults == ([fault] if fault else [])


def test_an_alias_is_as_good_as_the_name_and_another_skill_is_wrong() -> None:
    reading = case_of([[[{"skill": "easyocr"}]]], row="ocr")
    assert verdict(reading, call("ocr")).choice
    assert not verdict(ZEBRA, call("easyocr")).choice
    assert not verdict(ZEBRA, answer="On the left.").choice


def test_a_call_too_many_is_wrong() -> None:
    assert not verdict(ZEBRA, call("grounding_dino", caption="zebra"), call("ram")).choice


def test_unknown_skills_bad_arguments_and_broken_text_are_not_valid() -> None:
    assert not verdict(ZEBRA, call("zebra_finder")).valid
    assert not verdict(ZEBRA, call("grounding_dino", caption="zebra", box_threshold=7)).valid
    broken = verdict(ZEBRA, broken="no JSON")
    assert not broken.valid
    assert not broken.choice
    assert verdict(ZEBRA, call("grounding_dino", caption="zebra")).valid


def test_parts_called_one_after_the_other_are_as_good_as_their_composite() -> None:
    case = case_of([[[{"skill": "grounding_dino+sam", "args": {"caption": {"has": ["swan"]}}}]]])
    found = verdict(case, call("grounding_dino", caption="swan"), call("sam", boxes="$grounding_dino.boxes"))
    assert found.choice
    assert found.arguments
    assert verdict(case, call("grounding_dino", caption="swan"), call("sam", boxes="$1.boxes")).arguments
    guessed = verdict(case, call("grounding_dino", caption="swan"), call("sam", boxes=[[0, 0, 0.1, 0.1]]))
    assert guessed.faults == ["sam.boxes: another result"]
    assert not verdict(case, call("sam"), call("grounding_dino", caption="swan")).choice


def test_calls_of_a_group_may_come_in_any_order_and_groups_may_not() -> None:
    both = case_of([[[{"skill": "ram"}, {"skill": "easyocr"}]]])
    assert verdict(both, call("easyocr"), call("ram")).choice
    chain = case_of([[[{"skill": "openseed"}], [{"skill": "controlnet", "args": {"prompt": {"has": ["palace"]}}}]]])
    assert verdict(chain, call("openseed"), call("controlnet", prompt="a palace")).arguments
    assert not verdict(chain, call("controlnet", prompt="a palace"), call("openseed")).choice


def test_two_calls_of_one_skill_may_come_in_either_order() -> None:
    fox = [{"skill": "stable_diffusion", "args": {"prompt": {"has": [place]}}} for place in ("snow", "desert")]
    case = case_of([[fox]])
    calls = [call("stable_diffusion", prompt=f"a fox in {place}") for place in ("the desert", "snow")]
    assert verdict(case, *calls).arguments


@pytest.mark.parametrize(
    ("params", "right"),
    [
        ({}, True),
        ({"points": "$user.points"}, True),
        ({"points": [[[0.42, 0.55]]]}, True),
        ({"points": [[[0.42, 0.55]]], "point_labels": [[1]]}, True),
        ({"points": [[[0.9, 0.55]]]}, False),
        ({"boxes": [[0, 0, 1, 1]]}, False),
    ],
)
def test_marks_are_left_to_the_platform_referred_to_or_written_out(params: dict[str, Any], right: bool) -> None:
    case = CASES["int-01"]
    assert case.given.marks.points == [[0.42, 0.55]]
    assert verdict(case, call("sam", **params)).arguments is right


def test_values_that_were_asked_for_must_be_given() -> None:
    case = CASES["det-20"]
    assert "0.5" in case.text
    assert verdict(case, call("grounding_dino", caption="solar panel", box_threshold=0.5)).arguments
    assert verdict(case, call("grounding_dino", caption="solar panel")).faults == [
        "grounding_dino.box_threshold: missing"
    ]
    sized = CASES["gen-12"]
    prompt = "autumn vineyard under morning fog"
    assert verdict(sized, call("stable_diffusion", prompt=prompt, size=[768, 512])).arguments
    assert not verdict(sized, call("stable_diffusion", prompt=prompt, size=[512, 768])).arguments


def test_refusals_must_say_what_is_not_possible() -> None:
    case = CASES["ref-01"]
    assert verdict(case, answer="Sorry, I cannot play music.").refused
    assert verdict(case, answer="Here is your song!").refused is False
    called = verdict(case, call("stable_diffusion", prompt="song"))
    assert called.refused is None
    assert not called.choice


def test_a_text_that_is_wanted_beside_a_picture_must_be_about_it() -> None:
    case = CASES["gpo-01"]
    painted = call("stable_diffusion", prompt="a bowl of ramen")
    assert verdict(case, painted, answer="Slurp! #ramen").answered
    assert verdict(case, painted, answer="Done.").answered is False
    assert verdict(case, painted, answer="").answered is False


def test_figures_count_only_what_a_figure_is_about() -> None:
    talk, vain = CASES["con-01"], CASES["ref-01"]
    verdicts = [
        verdict(ZEBRA, call("grounding_dino", caption="zebra")),
        verdict(ZEBRA, call("grounding_dino", caption="dog")),
        verdict(ZEBRA, call("ram")),
        verdict(talk, answer="Hello!"),
        verdict(talk, call("ram")),
        verdict(vain, answer="I can't do that."),
    ]
    found = figures(verdicts)
    assert found["choice"] == Share(2, 3)
    assert found["arguments"] == Share(1, 2)
    assert found["both"] == Share(1, 3)
    assert found["needless"] == Share(1, 2)
    assert found["kept_from"] == Share(1, 1)
    assert found["says_so"] == Share(1, 1)
    page = to_markdown(verdicts, {"planner": "test"})
    assert "| tool choice | 2/3, 67%" in page
    assert "| grounding_dino | ram | 1 |" in page
    assert json.loads(json.dumps(to_json(verdicts, {})))["figures"]["choice"]["right"] == 2


def test_wilson_intervals_are_those_of_the_textbook() -> None:
    low, high = Share(8, 10).interval()
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert Share(0, 10).interval()[0] == 0.0
    assert Share(10, 10).interval()[1] == 1.0
    assert Share(0, 0).interval() == (0.0, 1.0)
    assert Share(0, 0).shown() == "-"


def test_tables_keep_their_columns_whatever_is_in_them() -> None:
    assert table(["a"], [["x|y\nz"]]).splitlines()[-1] == "| x\\|y z |"


def test_a_sample_is_spread_over_the_rows() -> None:
    some = sampled(list(CASES.values()), 60)
    assert len(some) == 60
    assert len({case.row for case in some}) == 22


class Scripted:
    """A planner that says what it was given, and remembers what it was asked."""

    model = "scripted"

    def __init__(self, *outputs: PlannerOutput | Exception) -> None:
        self.outputs = list(outputs)
        self.asked: list[PlanRequest] = []

    async def plan(self, request: PlanRequest, context: CallContext) -> AsyncGenerator[PlannerEvent, None]:
        self.asked.append(request)
        output = self.outputs.pop(0)
        if isinstance(output, Exception):
            raise output
        yield PlannerDone(output, prompt_tokens=10, completion_tokens=3)

    async def ready(self) -> bool:
        return True


def acts(*names: str, **params: Any) -> PlannerOutput:
    return PlannerOutput(actions=tuple(Action(API_name=name, API_params=params) for name in names))


async def test_a_chain_is_played_on_with_stock_results_until_it_is_whole() -> None:
    planner = Scripted(acts("openseed"), acts("controlnet", prompt="palace"))
    played = await PlannerPlayer(planner, TOOLS, words).play(CASES["sge-01"])
    assert [action["API_name"] for action in played.actions] == ["openseed", "controlnet"]
    told = planner.asked[1].conversation[-1]
    assert isinstance(told, ObservationTurn)
    assert told.observations[0].content["labels"]


async def test_a_wrong_call_ends_the_play_and_nothing_more_is_asked() -> None:
    planner = Scripted(acts("ram"))
    played = await PlannerPlayer(planner, TOOLS, words).play(ZEBRA)
    assert len(planner.asked) == 1
    assert not judged(ZEBRA, played, TOOLS).choice


async def test_a_post_is_asked_for_after_its_picture() -> None:
    planner = Scripted(acts("stable_diffusion", prompt="ramen"), PlannerOutput(value="Ramen time!"))
    case = CASES["gpo-01"]
    played = await PlannerPlayer(planner, TOOLS, words).play(case)
    assert judged(case, played, TOOLS).answered


async def test_earlier_turns_marks_and_pictures_reach_the_planner() -> None:
    planner = Scripted(acts("semantic_sam"))
    case = next(case for case in CASES.values() if case.before and case.given.marks.points and case.row[0] == "m")
    await PlannerPlayer(planner, TOOLS, words).play(case)
    first, *_, last = planner.asked[0].conversation
    assert isinstance(first, UserTurn)
    assert len(first.images) == 1
    assert isinstance(last, UserTurn)
    assert last.images == ()
    assert "Marked points ($user.points):" in last.text
    assert any(isinstance(turn, AssistantTurn) for turn in planner.asked[0].conversation)


async def test_unreadable_output_is_kept_as_broken() -> None:
    planner = Scripted(UnparsableOutput("no JSON", "hm"))
    played = await PlannerPlayer(planner, TOOLS, words).play(ZEBRA)
    assert played.broken == "no JSON: hm"


async def test_a_run_that_was_cut_goes_on_and_other_settings_are_not_mixed_in(tmp_path: Path) -> None:
    cases = [case_of([[[{"skill": "ram"}]]], id=str(number)) for number in range(3)]
    path, told = tmp_path / "played.jsonl", list[tuple[int, int]]()
    first = Scripted(acts("ram"), acts("ram"))
    player = PlannerPlayer(first, TOOLS, words)
    played = await play_all(
        cases, player, Journal(path, {"a": 1}), until=lambda: not first.outputs, tell=lambda *n: told.append(n)
    )
    assert len(played) == 2
    assert told == [(0, 3), (1, 3), (2, 3)]
    with path.open("a") as file:
        file.write('{"id": "cut')
    second = Scripted(acts("ram"))
    played = await play_all(cases, PlannerPlayer(second, TOOLS, words), Journal(path, {"a": 1}))
    assert len(played) == 3
    assert len(second.asked) == 1
    with pytest.raises(JournalError, match="--fresh"):
        Journal(path, {"a": 2})
    assert Journal(path, {"a": 2}, fresh=True).results == {}


async def test_a_running_platform_is_asked_as_its_clients_ask_it() -> None:
    steps = [{"kind": "plan", "actions": [call("sam")], "value": "", "thoughts": "", "results": [], "planner_ms": 5.0}]
    transport, bodies = chat_transport("Cut out.", steps)
    case = CASES["int-01"]
    async with GatewayClient("http://platform", transport=transport) as client:
        player = GatewayPlayer(client, stand_in_picture())
        played = await player.play(case)
        await player.play(CASES["exa-01"])
    kinds = [part["type"] for part in bodies[0]["messages"][-1]["content"]]
    assert kinds == ["image_url", "points", "text"]
    assert judged(case, played, TOOLS).choice
    assert [part["type"] for part in bodies[1]["messages"][-1]["content"]] == ["image_url", "reference", "text"]


def test_an_embedded_planner_is_told_of_the_skills_of_its_profile() -> None:
    assert told_skills("http://endpoint/v1", "embedded", None) == ((), ())
    assert "easyocr" in told_skills("embedded", "embedded", None)[1]
    assert told_skills("embedded", "embedded", "all")[0] == ()
    assert told_skills("embedded", "embedded", "ram, sam")[0] == ("ram", "sam")
