"""Writes docs/api.md; with `--check` it only says whether the file is up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from gateway.document.page import current_page

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def main(arguments: list[str]) -> int:
    page = current_page()
    if "--check" not in arguments:
        PAGE.write_text(page)
        return 0
    if PAGE.exists() and PAGE.read_text() == page:
        return 0
    sys.stderr.write("docs/api.md is not up to date: run `make docs-api`.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
