"""`llava-plus eval` at the terminal: against an endpoint, cut and gone on with, reported, and wrong in every way."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.cli.main import app
from deploy.errors import UsageError
from planner.api import PlanRequest
from planner.conversation import UserTurn
from planner.eval import report
from planner.eval.ablations import SHIPPED, Study, train_missing
from planner.eval.command import (
    EvaluationError,
    PlannerChoice,
    Progress,
    key_in,
    offered,
    opened_planner,
    time_limit,
)
from planner.eval.weights import content_hash
from planner.model import WEIGHTS
from planner.train.variants import Stages
from services.core.context import CallContext
from tests.openai_server import Endpoint, calls, serving_in_a_thread, text


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["eval", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_an_endpoint_is_scored_and_not_asked_twice(tmp_path: Path) -> None:
    out = tmp_path / "tool_use"
    endpoint = Endpoint([text("Hello ", "there!")])
    with serving_in_a_thread(endpoint):
        url = endpoint.url
        given = ("tool-use", "--planner", url, "--model", "m", "--sample", "44", "--out", str(out), "--at-once", "4")
        shown = run(*given)
        asked = len(endpoint.asked)
        assert run(*given).endswith(f"Written: {out}/tool_use.md and {out}/tool_use.json\n")
    assert not endpoint.problems
    assert asked == len(endpoint.asked) == 44
    assert "| needless calls in plain conversation | 0/" in shown
    figures = json.loads((out / "tool_use.json").read_text())["figures"]
    assert figures["valid"]["share"] == 1
    assert figures["choice"]["right"] < figures["choice"]["total"]
    with pytest.raises(UsageError, match="--fresh"):
        run("tool-use", "--planner", "http://other/v1", "--model", "m", "--sample", "44", "--out", str(out))


def test_native_tool_calls_are_scored_under_the_names_of_skills(tmp_path: Path) -> None:
    from planner.eval.cases import TOOL_USE

    line = next(line for line in TOOL_USE.read_text().splitlines() if '"id": "ins-01"' in line)
    (tmp_path / "one.jsonl").write_text(line + "\n")
    endpoint = Endpoint([calls(("grounding_dino__and__sam", '{"caption": "vase"}'))])
    with serving_in_a_thread(endpoint):
        url = endpoint.url
        shown = run(
            "tool-use", "--planner", url, "--model", "m", "--requests", f"{tmp_path}/one.jsonl", "--out", str(tmp_path)
        )
    assert "| tool choice | 1/1, 100%" in shown
    assert "| arguments, where the choice is right | 1/1, 100%" in shown


def test_an_endpoint_that_goes_away_ends_the_run_in_one_line_and_what_was_played_is_kept(tmp_path: Path) -> None:
    busy = (503, {"error": {"message": "busy"}})
    endpoint = Endpoint([text("Hello!"), text("Hello!"), busy])
    with serving_in_a_thread(endpoint):
        url = endpoint.url
        given = ("tool-use", "--planner", url, "--model", "m", "--sample", "5", "--out", str(tmp_path))
        with pytest.raises(UsageError, match="503"):
            run(*given)
        assert len((tmp_path / "played.jsonl").read_text().splitlines()) == 3
        endpoint.replies = [text("Hello!")]
        assert "requests played 5 of 5" in run(*given)


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="embedded-vllm"):
        run("tool-use", "--planner", "gpt", "--out", str(tmp_path / "a"))
    with pytest.raises(UsageError, match="--model NAME"):
        run("tool-use", "--planner", "http://x/v1", "--out", str(tmp_path / "b"))
    with pytest.raises(UsageError, match="zebra"):
        run("tool-use", "--planner", "http://x/v1", "--model", "m", "--skills", "zebra", "--out", str(tmp_path / "c"))
    with pytest.raises(UsageError, match=r"cannot be reached .*: is the platform up\?"):
        run("world", "--gateway", "http://127.0.0.1:1", "--each", "1", "--out", str(tmp_path / "d"))
    with pytest.raises(UsageError, match="needs a judge"):
        run("benchmark", "mm-vet", "--data", str(tmp_path), "--out", str(tmp_path))
    with pytest.raises(EvaluationError, match="NO_SUCH_VARIABLE"):
        key_in("NO_SUCH_VARIABLE")


def test_all_figures_go_onto_one_page_and_the_words_around_them_stay(tmp_path: Path) -> None:
    results, page = tmp_path / "results", tmp_path / "planner.md"
    (results / "world").mkdir(parents=True)
    (results / "world" / "world.md").write_text("| all | 5/7 |\n")
    page.write_text(f"# Title\n\nBefore.\n\n{report.BEGIN}\nold\n{report.END}\n\nAfter.\n")
    shown = run("report", "--results", str(results), "--page", str(page))
    assert "| all | 5/7 |" in shown
    first = page.read_text()
    assert first.startswith("# Title\n\nBefore.\n")
    assert first.endswith("\n\nAfter.\n")
    assert "old" not in first
    assert report.NOT_RUN in first
    run("report", "--results", str(results), "--page", str(page))
    assert page.read_text() == first
    page.write_text("nothing here")
    with pytest.raises(UsageError, match="lacks the lines"):
        run("report", "--results", str(results), "--page", str(page))


def test_the_papers_ablations_are_listed_and_those_without_weights_say_so(tmp_path: Path) -> None:
    names = [variant.name for variant in Study.load(SHIPPED).variants]
    assert names == [
        "as shipped",
        "reference",
        "without thoughts",
        "projector not pre-trained",
        "features of the last layer",
        "tools only at test time",
    ]
    endpoint = Endpoint([text("Hello!")])
    with serving_in_a_thread(endpoint):
        url = endpoint.url
        config = tmp_path / "variants.yaml"
        config.write_text(
            f"variants:\n- {{name: whole, planner: {url}, model: m}}\n- {{name: not there, model: {tmp_path}/none}}\n"
        )
        shown = run("ablations", "--config", str(config), "--sample", "22", "--out", str(tmp_path / "out"))
    assert "| whole |  | 22/22, 100%" in shown
    assert f"| not there |  | no weights in {tmp_path}/none |" in shown
    config.write_text("variants: 3")
    for mistake, said in (
        ("variants: 3", "variables.yaml: variants: Input should be a valid tuple"),
        ("variants: [{name: a}, {name: a}]", "two variants have the same name"),
        ("variants: [{name: a, model: x, settings: {}}]", "'a' has `settings`, but `training` names no"),
        ("training: {projector: p, planner: q}\nvariants: [{name: a, settings: {}}]", "needs `model`, the folder"),
    ):
        config.write_text(mistake)
        with pytest.raises(UsageError, match=said.replace("variables", "variants")):
            run("ablations", "--config", str(config), "--out", str(tmp_path / "out"))


def test_only_variants_without_weights_are_trained_and_a_cut_ends_it(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (there / name).touch()
    configs = {"projector": "planner/train/configs/ablations/projector.yaml"}
    configs["planner"] = "planner/train/configs/ablations/planner.yaml"
    named = [("endpoint", None), ("there", {}), ("first", {"thoughts": False}), ("second", {}), ("third", {})]
    variants = [{"name": name, "model": str(tmp_path / name), "settings": changes} for name, changes in named]
    study = Study.model_validate({"training": configs, "variants": variants})
    trained: list[tuple[str, Any]] = []

    def train(self: Stages, changes: Any, folder: Path, tell: Any, minutes: float | None) -> bool:
        trained.append((folder.name, changes))
        return folder.name == "first"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stages, "train", train)
        train_missing(study, lambda line: None)
        assert trained == [("first", {"thoughts": False}), ("second", {})]
        train_missing(study, lambda line: None, minutes=0.0)
    assert len(trained) == 2, "nothing is begun when the time is over"


def test_a_time_limit_begins_when_it_is_first_asked() -> None:
    assert not time_limit(None)()
    over = time_limit(0.0)
    assert not over()
    assert over()


def test_progress_says_how_much_is_left() -> None:
    said: list[str] = []
    progress = Progress(said.append, every_s=0.0)
    for done in (2, 3, 4):
        progress(done, 4)
    assert said[0] == "2 of 4"
    assert said[1].startswith("3 of 4, about ")
    assert said[-1].startswith("4 of 4")
    assert len(offered(("ram",))) == 1


async def test_a_planner_is_told_of_the_chosen_skills_whatever_a_platform_offers() -> None:
    endpoint = Endpoint([text("Hello!")])
    with serving_in_a_thread(endpoint):
        url = endpoint.url
        async with opened_planner(PlannerChoice(url, "m", skills=("ram",))) as planner:
            request = PlanRequest((UserTurn(text="Hello"),), offered(("ram", "easyocr")), max_tokens=20)
            context = CallContext("r", "me", time.time() + 20)
            assert [event async for event in planner.plan(request, context)]
    assert [tool["function"]["name"] for tool in endpoint.asked[0]["tools"]] == ["ram"]


def test_results_depend_on_the_weights_that_ship_where_none_are_named() -> None:
    about = PlannerChoice("embedded-vllm").about()
    assert (about["model"], about["weights"]) == ("default", content_hash(WEIGHTS))
    assert "weights" not in PlannerChoice("https://example.org/v1", "name").about()
