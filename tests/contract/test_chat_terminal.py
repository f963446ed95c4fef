"""`llava-plus chat` in a real terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from gateway_fakes import FakePlanner, FakeSkills, picture
from PIL import Image

from tests.conftest import free_port
from tests.contract.conftest import RunningGateway, served
from tests.contract.vision_fakes import EDIT_COLOUR, StoredSkills, ToldPlanner
from tests.terminal import Terminal, terminal

ROOT = Path(__file__).parent.parent.parent
BLUE = ";".join(map(str, EDIT_COLOUR))


@pytest.fixture(scope="module")
def address(redis_url: str) -> Iterator[str]:
    skills = StoredSkills()
    with served(redis_url, skills, ToldPlanner(), skills_with=skills.with_store) as (url, _):
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "red.png").write_bytes(picture(size=(60, 40)))
    return tmp_path


def chatting(url: str, folder: Path, *arguments: str, **environment: str) -> AbstractContextManager[Terminal]:
    """The command, with its files in the folder."""
    ours = {"LLAVA_PLUS_URL": url, "LLAVA_PLUS_STATE_DIR": str(folder / "state"), "PYTHONPATH": str(ROOT)}
    plain = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LLAVA_PLUS_PICTURES": "blocks"}
    inherited = {key: value for key, value in os.environ.items() if key not in ("TMUX", "NO_COLOR")}
    command = [sys.executable, "-m", "deploy.cli.main", "chat", *arguments]
    return terminal(command, inherited | ours | plain | environment, folder=folder)


def said(chat: Terminal, line: str) -> str:
    """What the chat writes to a line."""
    chat.line(line)
    return chat.wait_for("you> ")


def test_a_conversation_with_pictures_marks_and_plans(address: str, folder: Path) -> None:
    with chatting(address, folder, "red.png") as chat:
        assert "With the next question: 1 picture." in chat.wait_for("you> ")
        assert "1 new picture(s). You asked: What is it?" in said(chat, "What is it?")
        assert "0 new picture(s). You asked: And now?" in said(chat, "And now?"), "the session knows the picture"
        assert "1 box" in said(chat, "/box 0.5,0.5,0.1,0.1")
        assert "1 box, 1 point" not in said(chat, "/clear")
        assert "1 box" in said(chat, "/box 0.5 0.5 0.1 0.1")
        assert "Plans are shown." in said(chat, "/debug")
        cut = said(chat, "cut it")
        assert "Done with cut." in cut
        assert "I will cut." in cut
        assert "cut(boxes=[[0.1, 0.1, 0.5, 0.5]])" in cut
        assert f"48;2;{BLUE}m" in said(chat, "paint it"), "the picture is shown in coloured blocks"
        assert "saved: out/llava-plus-" in said(chat, "/save out")
        assert "saved: made.jpg" in said(chat, "/save made.jpg")
        chat.line("/quit")
        assert chat.end() == 0
    assert len(list((folder / "out").iterdir())) == 1
    with Image.open(folder / "made.jpg") as made:
        assert made.format == "JPEG"
    assert "thinking" in chat.seen
    history = folder / "state" / "chat_history"
    assert "paint it" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_what_was_found_is_drawn_over_the_picture(address: str, folder: Path) -> None:
    with chatting(address, folder, "red.png") as chat:
        chat.wait_for("you> ")
        assert "Nothing that can be drawn" in said(chat, "/overlay")
        said(chat, "paint it")
        assert "Nothing that can be drawn" in said(chat, "/overlay")
        said(chat, "find it")
        said(chat, "And what else?")
        assert "saved: drawn.png" in said(chat, "/overlay drawn.png")
        chat.type("\x04")
        assert chat.end() == 0
    with Image.open(folder / "drawn.png") as drawn:
        assert drawn.convert("RGB").getpixel((58, 1)) == EDIT_COLOUR, "it was found in the painted picture"


def test_a_map_is_drawn_over_its_picture(address: str, folder: Path) -> None:
    with chatting(address, folder, "red.png") as chat:
        chat.wait_for("you> ")
        said(chat, "map it")
        assert "saved: mapped.png" in said(chat, "/overlay mapped.png")
        chat.type("\x04")
        assert chat.end() == 0
    with Image.open(folder / "mapped.png") as mapped:
        red, _, blue = mapped.convert("RGB").getpixel((5, 5))
        assert red > EDIT_COLOUR[0]
        assert blue > 0


def test_mistakes_are_told_and_the_chat_goes_on(address: str, folder: Path) -> None:
    with chatting(address, folder) as chat:
        chat.wait_for("you> ")
        assert "There is no /nonsense; /help lists the commands." in said(chat, "/nonsense")
        assert "there is no such file" in said(chat, "/image lost.png")
        assert "Type it like /reference PICTURE MASK" in said(chat, "/reference red.png")
        assert "each 0 to 1" in said(chat, "/point 3,4")
        assert "No closing quotation" in said(chat, '/image "red.png')
        assert "No such session" in said(chat, "/session sess_nothing")
        assert "No picture has been made" in said(chat, "/save")
        assert "/overlay [FILE]" in said(chat, "/help")
        said(chat, "/image red.png")
        assert "1 new picture(s)." in said(chat, "Still there?")
        assert "sess_" in said(chat, "/session")
        assert "A new conversation." in said(chat, "/new")
        assert "It begins with the first answer." in said(chat, "/session")


def test_ctrl_c_drops_a_line_and_the_chat_goes_on(address: str, folder: Path) -> None:
    with chatting(address, folder) as chat:
        chat.wait_for("you> ")
        chat.type("never mind")
        chat.wait_for("never mind")
        assert "(/quit or Ctrl-D ends)" in chat.interrupt_until("you> ")
        assert "You asked: Hi" in said(chat, "Hi")


def test_ctrl_c_stops_an_answer_and_its_planner(gateway: RunningGateway, folder: Path) -> None:
    gateway.planner.cancelled.clear()
    with chatting(gateway.url, folder) as chat:
        chat.wait_for("you> ")
        chat.line("hang")
        chat.wait_for("Well")
        chat.interrupt()
        assert "Stopped." in chat.wait_for("you> ")
        assert gateway.planner.cancelled.wait(timeout=10)
        assert "You asked: Hi" in said(chat, "Hi")


def test_ctrl_c_ends_a_single_question_with_status_130(gateway: RunningGateway, folder: Path) -> None:
    gateway.planner.cancelled.clear()
    with chatting(gateway.url, folder, "-m", "hang") as chat:
        chat.wait_for("Well")
        chat.interrupt()
        assert chat.end() == 130
    assert gateway.planner.cancelled.wait(timeout=10)
    assert "Traceback" not in chat.seen


def test_a_platform_that_goes_away_does_not_end_the_chat(redis_url: str, folder: Path) -> None:
    with ExitStack() as running:
        url, _ = running.enter_context(served(redis_url, FakeSkills(), FakePlanner()))
        with chatting(url, folder) as chat:
            chat.wait_for("you> ")
            assert "You asked: Hi" in said(chat, "Hi")
            running.close()
            assert "Nothing answers at" in said(chat, "Hi")
            assert "It begins" not in said(chat, "/session")
            chat.line("/quit")
            assert chat.end() == 0


def test_without_a_platform_the_chat_says_how_to_start_one(folder: Path) -> None:
    with chatting(f"http://127.0.0.1:{free_port()}", folder) as chat:
        assert chat.end() == 3
    assert "make up" in chat.seen


def test_tab_completes_commands_and_paths(address: str, folder: Path) -> None:
    with chatting(address, folder) as chat:
        chat.wait_for("you> ")
        chat.type("/im\tre\t")
        chat.wait_for("/image red.png")
        chat.type("\r")
        assert "1 picture" in chat.wait_for("you> ")


def test_kittys_terminal_gets_kittys_pictures(address: str, folder: Path) -> None:
    kitty: dict[str, Any] = {"TERM": "xterm-kitty", "LLAVA_PLUS_PICTURES": ""}
    with chatting(address, folder, "red.png", "-m", "paint it", **kitty) as chat:
        assert chat.end() == 0
    assert "\x1b_Ga=T,f=100" in chat.seen
    assert not list(folder.glob("llava-plus-*")), "what is shown is not saved too"


def test_a_terminal_that_says_that_it_knows_sixels_gets_them(address: str, folder: Path) -> None:
    with chatting(address, folder, "red.png", "-m", "paint it", LLAVA_PLUS_PICTURES="") as chat:
        chat.wait_for("\x1b[c")
        chat.type("\x1b[?62;4;22c")
        chat.wait_for('\x1bPq"1;1;60;40')
        assert chat.end() == 0
