from __future__ import annotations

from deploy.cli.docs import PAGE, page


def test_the_page_about_the_command_line_is_what_the_commands_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m deploy.cli.docs`"
