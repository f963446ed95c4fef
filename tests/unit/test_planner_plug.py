"""Plug and learn, with a skill that is in no recipe: questions in, adapter and score out, in service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import yaml  # noqa: E402
from PIL import Image, ImageOps  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import deploy.cli.planner  # noqa: E402
from deploy.cli.main import app  # noqa: E402
from planner.conversation import AssistantTurn, Conversation, UserTurn  # noqa: E402
from planner.dialects import dialect  # noqa: E402
from planner.format import Action, PlannerOutput  # noqa: E402
from planner.plug.data import split  # noqa: E402
from planner.plug.score import score  # noqa: E402
from planner.plug.seeds import Seed, SeedError, read_seeds  # noqa: E402
from planner.train.recipe import Outcome  # noqa: E402
from services.core.skill import Skill, SkillCall  # noqa: E402
from services.core.spec import Symbol  # noqa: E402
from services.core.types import Picture, SkillResult  # noqa: E402
from tests import tiny_llava  # noqa: E402
from tests.hue_skill import QUESTIONS, Hue, HueArgs  # noqa: E402


class NegativeResult(SkillResult):
    """Another picture."""

    edited_image: Picture


class Negative(Skill[HueArgs, NegativeResult]):
    """Turns the colours of a picture round."""

    name = "negative"
    default_checkpoint = "none"
    produces = frozenset({Symbol.IMAGE})
    Args = HueArgs
    Result = NegativeResult

    def predict(self, batch: Sequence[SkillCall[HueArgs]]) -> Sequence[NegativeResult]:
        return [NegativeResult(edited_image=ImageOps.invert(call.image)) for call in batch]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the running planner is asked for."""
    requests: list[dict[str, Any]] = []
    monkeypatch.setattr(deploy.cli.planner, "ask", requests.append)
    return requests


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training is stopped before its first step."""
    monkeypatch.setattr("planner.plug.run.train", lambda *_, **__: Outcome(0, 1))


def plugged(folder: Path, *options: str, questions_more: str = "", **training_more: Any) -> Any:
    questions = folder / "questions.txt"
    questions.write_text(QUESTIONS + questions_more)
    training: dict[str, Any] = {
        "model": str(tiny_llava.write(folder / "model")),
        "lengths": [1024],
        "batch_tokens": 4096,
        "precision": "fp32",
        "lora": {"rank": 4, "alpha": 8},
    } | training_more
    (folder / "training.yaml").write_text(yaml.safe_dump(training))
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    Image.new("RGB", (30, 30), "red").save(pictures / "red.png")
    known = {"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi."}]}
    (folder / "known.jsonl").write_text("\n".join(json.dumps(known | {"id": number}) for number in range(30)))
    command = ["plug", "tests.hue_skill:Hue", "--questions", str(questions), "--samples", "8"]
    command += ["--training", str(folder / "training.yaml"), "--folder", str(folder / "plug")]
    command += ["--pictures", str(pictures)]
    command += [] if "--replay" in options else ["--replay", str(folder / "known.jsonl")]
    command += options
    return CliRunner().invoke(app, command)


def test_a_new_skill_gets_data_an_adapter_and_a_score_and_is_put_in_service(
    tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    done = plugged(tmp_path, "--choice-min", "0")
    assert done.exit_code == 0, done.output
    samples = [json.loads(line) for line in (tmp_path / "plug" / "data.jsonl").read_text().splitlines()]
    assert len(samples) == 8 + 8
    taught = [sample for sample in samples if str(sample["id"]).startswith("hue")]
    assert all("hue" in sample["tools"] for sample in samples)
    actions = [sample["conversations"][1]["actions"][0] for sample in taught]
    assert {action["API_name"] for action in actions} == {"hue"}
    assert not any("{thing}" in json.dumps(action["API_params"]) for action in actions)
    answers = [sample["conversations"][3]["value"] for sample in taught if len(sample["conversations"]) == 4]
    assert answers
    assert all("red" in answer for answer in answers)  # the skill was run on the picture
    adapter = tmp_path / "plug" / "adapter"
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 4
    assert asked == [{"do": "add", "name": "hue", "folder": str(adapter), "skills": ["hue"], "active": True}]
    scored = json.loads((tmp_path / "plug" / "score.json").read_text())
    assert (scored["requests"], scored["others"]) == (1, 20)
    assert f"choice     {scored['choice']:.0%}" in done.output
    assert "In service" in done.output


def replayed(folder: Path) -> Path:
    """Samples as `llava-plus data build` leaves them: a call about a picture, which lies beside them."""
    (folder / "built" / "pictures").mkdir(parents=True)
    Image.new("RGB", (30, 30), "blue").save(folder / "built" / "pictures" / "a.jpg")
    call = {"API_name": "easyocr", "API_params": {}}
    asked = {"from": "human", "value": "<image>\nRead it."}
    said = {"from": "gpt", "thoughts": "Read.", "actions": [call], "value": ""}
    known = {"image": "pictures/a.jpg", "conversations": [asked, said]}
    path = folder / "built" / "data.jsonl"
    path.write_text("\n".join(json.dumps(known | {"id": number}) for number in range(30)))
    return path


@pytest.mark.usefixtures("untrained")
def test_built_data_is_replayed_with_its_pictures_and_with_the_tools_that_it_calls(tmp_path: Path) -> None:
    done = plugged(tmp_path, "--replay", str(replayed(tmp_path)), "--choice-min", "0", learned=["blip2"])
    assert done.exit_code == 0, done.exception
    samples = [json.loads(line) for line in (tmp_path / "plug" / "data.jsonl").read_text().splitlines()]
    known = [sample for sample in samples if not str(sample["id"]).startswith("hue")]
    assert {sample["image"][0] for sample in known} == {str(tmp_path / "built" / "pictures" / "a.jpg")}
    assert {tuple(sample["tools"]) for sample in known} == {("blip2", "easyocr", "hue")}
    taught = [sample for sample in samples if str(sample["id"]).startswith("hue")]
    assert {tuple(sample["tools"]) for sample in taught} == {("blip2", "hue")}


def test_replayed_samples_without_their_pictures_are_named_before_training(tmp_path: Path) -> None:
    path = replayed(tmp_path)
    (path.parent / "pictures" / "a.jpg").unlink()
    done = plugged(tmp_path, "--replay", str(path))
    assert "pictures/a.jpg of the samples to replay is not there" in str(done.exception)


def test_the_embedded_planner_is_told_of_tools_in_training_as_in_service() -> None:
    from deploy.cli.plug import TRAINING
    from deploy.profile import load_profile

    profile = load_profile("embedded")
    assert profile.planner is not None
    assert tuple(yaml.safe_load(TRAINING.read_text())["learned"]) == profile.planner.learned


@pytest.mark.usefixtures("untrained")
def test_a_folder_of_other_questions_is_not_gone_on_with(tmp_path: Path) -> None:
    assert plugged(tmp_path, "--choice-min", "0").exit_code == 0
    assert plugged(tmp_path, "--choice-min", "0").exit_code == 0
    more = plugged(tmp_path, "--choice-min", "0", questions_more="And what hue has this?\n")
    assert "holds what came of other questions: remove it, or name another --folder" in str(more.exception)


@pytest.mark.parametrize(
    ("training", "message"),
    [({"lengths": [0.5]}, "lengths.0: Input should be"), ({"learned": ["huge"]}, "there is no skill 'huge'")],
)
def test_mistakes_in_the_training_are_named(tmp_path: Path, training: dict[str, Any], message: str) -> None:
    assert message in str(plugged(tmp_path, **training).exception)


def test_a_picture_that_a_skill_makes_is_shown_as_a_handle_and_a_broken_one_is_named(tmp_path: Path) -> None:
    from deploy.cli.plug import _running

    run = _running(Negative, None)
    Image.new("RGB", (4, 4), "red").save(tmp_path / "red.png")
    shown = run({}, tmp_path / "red.png")
    assert shown["edited_image"].startswith("img_")
    assert len(shown["edited_image"]) == 44
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(SeedError, match=r"broken\.png cannot be read as a picture"):
        run({}, tmp_path / "broken.png")


def test_an_adapter_that_chooses_the_new_skill_for_everything_is_not_put_in_service(
    tmp_path: Path, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from planner.plug.score import Score

    greedy = Score(requests=5, valid=1.0, choice=1.0, arguments=1.0, others=20, needless=0.6)
    monkeypatch.setattr("planner.plug.run.plug", lambda *_: greedy)
    done = plugged(tmp_path)
    assert "60% of other requests choose hue too, 10% are allowed" in str(done.exception)
    assert asked == []


def test_an_adapter_that_learned_too_little_is_not_put_in_service(
    tmp_path: Path, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from planner.plug.score import Score

    low = Score(requests=5, valid=1.0, choice=0.4, arguments=1.0, others=20, needless=0.0)
    monkeypatch.setattr("planner.plug.run.plug", lambda *_: low)
    done = plugged(tmp_path)
    assert done.exit_code == 1
    assert "40% of held-out questions choose hue, 90% are asked for" in str(done.exception)
    assert asked == []


def test_the_score_counts_what_a_planner_does() -> None:
    json_dialect = dialect("json")
    call = PlannerOutput(actions=(Action(API_name="hue", API_params={"thing": "cat"}),))
    other = PlannerOutput(actions=(Action(API_name="hue", API_params={"thing": "dog"}),))
    answer = PlannerOutput(value="Hi.")
    replies = {
        "right": json_dialect.render(call),
        "wrong thing": json_dialect.render(other),
        "no call": json_dialect.render(answer),
        "broken": "hue!",
    }

    def turns(text: str, wanted: PlannerOutput) -> Conversation:
        return UserTurn(text=text), AssistantTurn(output=wanted)

    def write(messages: list[dict[str, Any]]) -> str:
        return replies[messages[-1]["content"][-1]["text"]]

    made = score(
        write,
        json_dialect,
        "hue",
        [Hue.spec()],
        [turns(text, call) for text in replies],
        [turns("right", answer), turns("no call", answer)],
    )
    assert (made.requests, made.valid, made.choice, made.arguments) == (4, 0.75, 0.5, 0.5)
    assert (made.others, made.needless) == (2, 0.5)


def test_held_out_questions_are_not_learned() -> None:
    seeds = [Seed(f"Question {number}?") for number in range(10)]
    parts = split(seeds, seed=1)
    assert len(parts.held_out) == 2
    assert set(parts.learned) | set(parts.held_out) == set(seeds)
    assert not set(parts.learned) & set(parts.held_out)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("What?\t{thing}", r"line 1: the arguments are not a JSON object"),
        ('What?\t{"size": 3}', r"line 1: hue needs size"),
        ("What?\t\tIt is {result.colour}.", r"line 1: hue gives no colour"),
        ("What?\t{}\ta\tb", r"line 1: a line is a question"),
        ("What?", r"has 1 questions: write four at least"),
    ],
)
def test_questions_that_do_not_fit_the_skill_are_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "q.txt").write_text(line)
    with pytest.raises(SeedError, match=message):
        read_seeds(tmp_path / "q.txt", Hue.spec())


def test_a_skill_without_an_adapter_is_offered_through_its_description() -> None:
    messages = dialect("json").messages((UserTurn(text="Hello"),), [Hue.spec()])
    assert "hue(thing): Names the hue of a thing in the picture." in messages[0]["content"]
    schema = json.dumps(dialect("json").schema([Hue.spec()]))
    assert '"const": "hue"' in schema
