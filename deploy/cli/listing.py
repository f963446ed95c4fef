"""Groups of commands that list what they are about when no command of theirs is named."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

_LIST = "list"


class ListsByItself(TyperGroup):
    """`llava-plus sessions --json` is `llava-plus sessions list --json`; completion offers commands all the same."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        if not named and not ctx.resilient_parsing:
            args = [_LIST, *args]
        return super().parse_args(ctx, args)
