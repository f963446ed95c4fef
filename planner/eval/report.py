"""All figures on one page: what the suites wrote, put between two marks of `docs/planner.md`."""

from __future__ import annotations

from pathlib import Path

from planner.eval.benchmarks.tables import collected, tables
from planner.eval.command import EvaluationError

BEGIN = "<!-- figures: written by `llava-plus eval report` -->"
END = "<!-- end of figures -->"
SUITES = {
    "tool_use": "Tool use: requests written by hand",
    "world": "End to end: the embedded world",
    "mistakes": "What a mistake costs",
    "ablations": "Ablations",
}
NOT_RUN = "Not run yet."


def figures(results: Path) -> str:
    """The pages of all suites under a folder of results, each in its own section, and the benchmarks' tables."""
    parts = []
    for suite, title in SUITES.items():
        page = results / suite / f"{suite}.md"
        body = page.read_text(encoding="utf-8").strip() if page.exists() else NOT_RUN
        parts.append(f"## {title}\n\n{body}")
    benchmarks = tables(collected(results / "benchmarks")).strip()
    parts.append(f"## Published benchmarks\n\n{benchmarks}")
    return "\n\n".join(parts)


def put(page: Path, body: str) -> str:
    """Write the figures into the page in the place of those that are there; its new text.

    Raises:
        EvaluationError: the page has no marks.
    """
    text = page.read_text(encoding="utf-8") if page.exists() else f"# The planner\n\n{BEGIN}\n{END}\n"
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise EvaluationError(f"{page} lacks the lines {BEGIN} and {END}, between which the figures stand.")
    whole = f"{before}{BEGIN}\n\n{body}\n\n{END}{after}"
    page.write_text(whole, encoding="utf-8")
    return whole
