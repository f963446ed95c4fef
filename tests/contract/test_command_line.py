"""The commands that talk to a platform, against a real gateway."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from gateway_fakes import picture
from PIL import Image
from typer.testing import CliRunner

from deploy.cli.main import app
from deploy.errors import DeployError
from services.core.errors import SkillFailed, SkillOverloaded
from services.core.spec import Symbol
from tests.conftest import free_port
from tests.contract.conftest import served
from tests.contract.vision_fakes import EDIT_COLOUR, StoredSkills, ToldPlanner


@dataclass(frozen=True)
class Platform:
    url: str
    skills: StoredSkills


@pytest.fixture(scope="module")
def platform(redis_url: str) -> Iterator[Platform]:
    skills = StoredSkills()
    # The gateway is in this process, and its log would get into what the commands write.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with served(redis_url, skills, ToldPlanner(), skills_with=skills.with_store) as (url, _):
        yield Platform(url, skills)
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def surroundings(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder of this test's own, and the platform's address in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLAVA_PLUS_URL", platform.url)
    monkeypatch.setenv("LLAVA_PLUS_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "red.png").write_bytes(picture(size=(60, 40)))


@dataclass(frozen=True)
class Ended:
    """How a command ended: `lines` is standard output."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def run(*arguments: str, typed: str | bytes | None = None) -> Ended:
    """The command as its console script runs it."""
    result = CliRunner().invoke(app, list(arguments), input=typed)
    if isinstance(result.exception, DeployError):
        return Ended(result.exception.exit_status, result.stdout, str(result.exception))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


def opened(path: Path | str) -> Image.Image:
    return Image.open(io.BytesIO(Path(path).read_bytes()))


def test_a_tools_options_are_made_from_its_schema(platform: Platform) -> None:
    done = run("call", "find", "red.png", "--caption", "cat . dog", "--box-threshold", "0.25")
    assert done.status == 0
    assert done.lines == ["1  cat  0,0 to 2,2", "2  dog  1,1 to 4,4"]
    assert platform.skills.calls[-1].args == {"caption": "cat . dog", "box_threshold": 0.25}


def test_points_and_boxes_are_typed_as_numbers(platform: Platform) -> None:
    done = run("call", "cut", "red.png", "--points", "0.5,0.5;0.1,0.1", "--points", "0.9,0.9", "--point-labels", "1,0")
    assert done.status == 0, done.err
    args = platform.skills.calls[-1].args
    assert args == {"points": [[[0.5, 0.5], [0.1, 0.1]], [[0.9, 0.9]]], "point_labels": [[1, 0]]}


def test_json_arguments_are_taken_and_overruled_by_options(platform: Platform) -> None:
    args = json.dumps({"caption": "cat", "box_threshold": 0.5})
    assert run("call", "find", "red.png", "--args", args, "--caption", "dog").status == 0
    assert platform.skills.calls[-1].args == {"caption": "dog", "box_threshold": 0.5}


@pytest.mark.parametrize("before", [True, False])
def test_the_platforms_address_may_stand_before_or_after_the_tool(
    platform: Platform, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAVA_PLUS_URL", f"http://127.0.0.1:{free_port()}")
    url = ["--url", platform.url]
    done = run("call", *(url if before else []), "tag", "red.png", *([] if before else url))
    assert done.lines == ["tags: cat, dog"]


def test_json_is_all_that_standard_output_holds() -> None:
    data = run("call", "find", "red.png", "--caption", "cat", "--json").data
    assert data["tool"] == "find"
    assert data["result"]["phrases"] == ["cat", "dog"]
    assert data["files"] == []


def test_an_error_is_json_too_and_has_its_status() -> None:
    done = run("call", "find", "red.png", "--caption", "cat", "--box-threshold", "7", "--json")
    assert done.status == 4
    assert done.data["error"]["param"] == "arguments.box_threshold"
    assert "--box-threshold" in done.err, "the person is told which option"


def test_a_made_picture_is_saved_where_it_is_wanted() -> None:
    done = run("call", "edit", "red.png", "--prompt", "blue", "-o", "blue.png")
    assert done.lines[-1] == "saved: blue.png"
    assert opened("blue.png").convert("RGB").getpixel((5, 5)) == EDIT_COLOUR
    (line,) = run("call", "edit", "red.png", "--prompt", "blue").lines
    assert re.fullmatch(r"edited image: img_[0-9a-f]{40}  \(-o FILE saves it\)", line)


def test_masks_are_saved_and_drawn() -> None:
    done = run("call", "cut", "red.png", "--boxes", "0,0,1,1", "-o", "masks", "--overlay", "drawn.png")
    assert done.lines == [
        "1  25.0% of the picture",
        "2  25.0% of the picture",
        "saved: masks/mask-1.png",
        "saved: masks/mask-2.png",
        "saved: drawn.png",
    ]
    assert np.asarray(opened("masks/mask-1.png").convert("L"))[0].tolist() == [255, 0, 0, 0]
    drawn = opened("drawn.png").convert("RGB")
    assert drawn.size == (60, 40)
    assert drawn.getpixel((1, 20)) != drawn.getpixel((20, 20)) == (255, 0, 0)
    refused = run("call", "tag", "red.png", "--overlay", "x.png")
    assert (refused.status, "nothing is drawn" in refused.err) == (2, True)


def test_a_map_is_drawn_over_its_picture() -> None:
    assert run("call", "map", "red.png", "--overlay", "mapped.png").lines[-1] == "saved: mapped.png"
    assert opened("mapped.png").convert("RGB").getpixel((5, 5)) == (120, 11, 110), "half red, half blue"


def test_what_a_tool_needs_besides_the_picture_is_an_option(platform: Platform) -> None:
    Image.new("L", (60, 40), 255).save("mask.png")
    assert run("call", "fill", "red.png", "--mask", "mask.png", "--prompt", "sea").status == 0
    call = platform.skills.calls[-1]
    assert set(call.images) == {Symbol.IMAGE, Symbol.MASK}
    missing = run("call", "fill", "red.png", "--prompt", "sea")
    assert (missing.status, "--mask" in missing.err) == (2, True)


def test_a_picture_comes_from_standard_input_or_by_handle() -> None:
    (handle,) = run("images", "upload", "-", typed=Path("red.png").read_bytes()).lines
    assert run("call", "tag", handle).lines == ["tags: cat, dog"]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["call", "find", "red.png"], 2, "find needs --caption"),
        (["call", "fnd", "red.png"], 2, "Did you mean find?"),
        (["call", "nothing"], 2, "There are: cut, edit"),
        (["call", "find", "lost.png", "--caption", "x"], 2, "lost.png: No such file"),
        (["call", "find", "red.png", "--args", "{"], 2, "--args: this is not valid JSON"),
        (["call", "find", "red.png", "--args", "[]"], 2, "--args: write a JSON object"),
        (["call", "cut", "red.png", "--boxes", "1,2"], 2, "2 numbers, not 4"),
        (["call", "find", "img_" + "0" * 40, "--caption", "x"], 4, "img_0000"),
        (["tools", "nothing"], 2, "There are: cut, edit"),
        (["sessions", "show", "sess_" + "0" * 32], 4, "No such session"),
        (["images", "info", "img_" + "0" * 40], 4, "img_0000"),
        (["tools", "--url", "nowhere"], 2, "is no address"),
        (["chat", "lost.png", "-m", "Hi"], 2, "lost.png: there is no such file"),
        (["chat", "-m", "Hi", "--box", "1,2,3,4"], 2, "each 0 to 1"),
        (["chat", "-m", "Hi", "--point", "x"], 2, "is not X,Y"),
        (["chat", "-m", " "], 4, "no text"),
        (["chat", "--json"], 2, "holds no question"),
    ],
)
def test_mistakes_end_with_their_status_and_say_what_to_do(arguments: list[str], status: int, told: str) -> None:
    done = run(*arguments)
    assert (done.status, told in done.err) == (status, True), done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("fails", "status"), [(SkillFailed("inner"), 5), (SkillOverloaded("The skill is busy.", retry_after_s=60.0), 6)]
)
def test_a_skill_that_fails_or_is_busy_has_a_status_of_its_own(
    platform: Platform, fails: Exception, status: int
) -> None:
    known = platform.skills.results["tag"]
    platform.skills.results["tag"] = fails
    try:
        done = run("call", "tag", "red.png")
    finally:
        platform.skills.results["tag"] = known
    assert done.status == status
    assert "inner" not in done.err


def test_nothing_running_says_how_to_start_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLAVA_PLUS_URL")
    monkeypatch.setenv("LLAVA_PLUS_PORT", str(free_port()))
    for command in (["tools"], ["call", "find"], ["chat", "-m", "Hi"], ["sessions"], ["images", "show", "img_0"]):
        done = run(*command)
        assert done.status == 3
        assert "Nothing answers at http://127.0.0.1:" in done.err
        assert "make up" in done.err
    assert run("call", "--help").status == 0, "help needs no platform"


def test_the_running_platform_is_found_by_its_state_folder(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploy.state_dir import RunState, StateDir

    monkeypatch.delenv("LLAVA_PLUS_URL")
    state = StateDir(tmp_path / "state")
    state.create()
    state.write(RunState(pid=1, run_id="r", address=platform.url, profile="embedded", started=0.0))
    with state.lock():
        assert run("tools").status == 0


def test_a_platform_that_is_starting_is_told_from_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploy.state_dir import RunState, StateDir

    monkeypatch.delenv("LLAVA_PLUS_URL")
    address = f"http://127.0.0.1:{free_port()}"
    state = StateDir(tmp_path / "state")
    state.create()
    state.write(RunState(pid=1, run_id="r", address=address, profile="embedded", started=0.0, phase="loading"))
    with state.lock():
        done = run("tools")
    assert (done.status, f"The platform is starting at {address}" in done.err) == (3, True)


def test_tools_are_listed_and_described() -> None:
    assert run("tools").lines[0] == "cut        Cuts out what is in boxes or at points."
    described = run("tools", "detector").out
    assert described.startswith("find  (also: detector)")
    assert "planner:   is told of it" in described
    assert re.search(r"--box-threshold NUMBER +\[default: 0.3\]", described)
    assert [tool["name"] for tool in run("tools", "--json").data] == [line.split()[0] for line in run("tools").lines]
    assert run("tools", "find", "--json").data["arguments"]["required"] == ["caption"]


def test_one_question_is_answered_and_the_process_ends() -> None:
    done = run("chat", "red.png", "-m", "What is it?")
    assert (done.status, done.out) == (0, "1 new picture(s). You asked: What is it?\n")


def test_a_question_is_read_from_a_pipe() -> None:
    assert run("chat", typed="What is it?\n").out == "0 new picture(s). You asked: What is it?\n"
    both = run("chat", "-", "-m", "And this?", typed=Path("red.png").read_bytes())
    assert both.out == "1 new picture(s). You asked: And this?\n"
    assert run("chat", "-", typed=Path("red.png").read_bytes()).status == 2


def test_a_conversation_goes_on_by_its_id_or_as_the_last_one() -> None:
    first = run("chat", "red.png", "-m", "One", "--json").data
    second = run("chat", "-m", "Two", "--session", first["session_id"], "--json").data
    third = run("chat", "-m", "Three", "--session", "last", "--json").data
    assert first["session_id"] == second["session_id"] == third["session_id"]
    assert run("sessions", "show", "last").out.count("\n> ") == 3


def test_marks_go_with_the_question(platform: Platform) -> None:
    done = run("chat", "red.png", "-m", "cut it", "--box", "0.1,0.1,0.5,0.5", "--debug")
    assert done.out == "Done with cut.\n"
    assert "I will cut." in done.err
    assert platform.skills.calls[-1].args == {"boxes": [[0.1, 0.1, 0.5, 0.5]]}


def test_pictures_made_for_an_answer_are_saved_where_they_cannot_be_shown() -> None:
    done = run("chat", "red.png", "-m", "paint it")
    (saved,) = Path().glob("llava-plus-*.png")
    assert done.err == f"saved: {saved}\n"
    assert opened(saved).convert("RGB").getpixel((5, 5)) == EDIT_COLOUR
    data = run("chat", "red.png", "-m", "paint it", "-o", "here.jpg", "--json").data
    assert data["files"] == ["here.jpg"]
    assert opened("here.jpg").format == "JPEG"


def test_sessions_are_listed_shown_replayed_and_forgotten() -> None:
    session = run("chat", "red.png", "-m", "find it", "--json").data["session_id"]
    assert run("sessions").lines[0].startswith(session)
    assert run("sessions", "--json", "--limit", "1").data[0]["id"] == session
    assert "replay" in run("sessions", "--help").out
    shown = run("sessions", "show", session, "--debug").out
    assert 'find(caption="cat . dog")' in shown
    assert "> find it" in shown
    replayed = run("sessions", "replay", session)
    assert replayed.lines[-1] == f"1 of 1 answers are the same as in {session}."
    assert run("sessions", "delete", session, "--json").data == {"deleted": [session]}
    assert run("sessions", "show", session).status == 4
    assert session not in [one["id"] for one in run("sessions", "list", "--json").data]


def test_pictures_go_and_come_back() -> None:
    info = run("images", "upload", "red.png", "--json").data[0]
    assert (info["width"], info["height"]) == (60, 40)
    (path,) = run("images", "get", info["id"], "-o", "back.png").lines
    assert Path(path).read_bytes() == Path("red.png").read_bytes()
    assert run("images", "get", info["id"], "--variant", "thumbnail", "-o", "small.jpg").status == 0
    assert opened("small.jpg").format == "JPEG"
    assert run("images", "show", info["id"]).lines == [f"{info['id']}  60 x 40"]
    assert run("images", "info", info["id"]).lines[-1] == "uploaded"


def test_a_call_is_left_to_a_job_and_waited_for() -> None:
    (job,) = run("call", "cut", "red.png", "--boxes", "0,0,1,1", "--job").lines
    waited = run("jobs", "wait", job, "-o", "masks")
    assert waited.status == 0, waited.err
    assert waited.lines[0] == "1  25.0% of the picture"
    assert waited.lines[-1] == "saved: masks/mask-2.png"
    assert run("jobs", "result", job, "--json").data["tool"] == "cut"
    assert re.fullmatch(rf"{job}  cut  succeeded  \d+\.\d s\n", run("jobs", "show", job).out)
    assert run("jobs").lines[0].startswith(job)
    assert run("jobs", "--json").data[0]["id"] == job
    assert run("jobs", "cancel", job).out == f"{job}  succeeded\n", "what is over stays as it is"
    assert run("jobs", "show", "job_" + "0" * 32).status == 4


def completed(line: Sequence[str]) -> list[str]:
    """What bash would offer after these words, by the script that --install-completion writes."""
    environment = os.environ | {
        "_LLAVA_PLUS_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'llava-plus'; from deploy.cli.main import main; main()"]
    cwd = Path(__file__).parent.parent.parent
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_completes_tools_and_their_options(monkeypatch: pytest.MonkeyPatch) -> None:
    assert completed(["llava-plus", "call", "f"]) == ["fill", "find", "follow"]
    assert completed(["llava-plus", "tools", "fi"]) == ["fill", "find"]
    assert "--box-threshold" in completed(["llava-plus", "call", "find", "--"])
    session = run("chat", "-m", "Hi", "--json").data["session_id"]
    assert session in completed(["llava-plus", "sessions", "show", "sess_"])
    assert "replay" in completed(["llava-plus", "sessions", "re"])
    monkeypatch.setenv("LLAVA_PLUS_URL", f"http://127.0.0.1:{free_port()}")
    assert completed(["llava-plus", "call", "f"]) == []
