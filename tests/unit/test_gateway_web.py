from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "gateway" / "api" / "web" / "index.html"
STUBS = """
const stub = () => new Proxy(function () {}, {
  get: (kept, key) => key === Symbol.toPrimitive ? () => "" : key in kept ? kept[key] : (kept[key] = stub()),
  set: (kept, key, value) => { kept[key] = value; return true; },
  apply: () => stub(),
});
const known = {};
const document = {
  getElementById: (id) => known[id] ??= stub(), createElement: stub, addEventListener() {},
};
URL.createObjectURL = () => "blob:x";
"""
SCENARIO = """
async function left(chosenMeanwhile) {
  choose({ name: "first" });
  el("question").value = "What?";
  ask = async () => { if (chosenMeanwhile) choose({ name: chosenMeanwhile }); };
  await submit();
  return picture?.file.name ?? "none";
}
(async () => console.log(await left(null), await left("second")))();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the page's script")
def test_the_page_drops_the_picture_that_was_sent_and_keeps_one_chosen_meanwhile() -> None:
    script = re.search(r"<script>(.*)</script>", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert script is not None
    run = subprocess.run(
        ["node", "-e", STUBS + script[1].replace('"use strict";', "") + SCENARIO],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.stdout == "none second\n", run.stderr
