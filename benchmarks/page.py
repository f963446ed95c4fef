"""How soon the web page shows what it is for, in a real Chromium over loopback.

With an empty cache and with a full one; a page of one line is measured in the same run, to tell what the machine and
the browser take by themselves. The page's server runs in a process of its own, without planner and skills, since the
page is painted before it asks for them. First and largest contentful paint are the browser's own measurements; the
text and the place to write are there with the first. `python -m benchmarks.page` prints a table and writes
benchmarks/results/page.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.running import RESULTS, ROOT, free_port

TARGET_MS = 1000.0
START_S = 60.0
WAIT_MS = 60_000.0
SERVER = """
import sys, uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from gateway.api import web
app = FastAPI()
app.include_router(web.router())
app.add_api_route("/bare", lambda: HTMLResponse("<body data-ready><p>One line."), response_class=HTMLResponse)
app.add_api_route("/v1/tools", lambda: {"object": "list", "data": []})
app.add_api_route("/v1/sessions", lambda: {"object": "list", "data": [], "has_more": False})
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""
PAINTS = """() => new Promise((done) => {
  const first = performance.getEntriesByName("first-contentful-paint")[0].startTime;
  new PerformanceObserver((list) => done({
    first_paint_ms: first,
    largest_paint_ms: list.getEntries().at(-1).startTime,
    loaded_ms: performance.getEntriesByType("navigation")[0].loadEventEnd,
    requests: performance.getEntriesByType("resource").length + 1,
    bytes: performance.getEntriesByType("resource").reduce((sum, one) => sum + one.transferSize, 0),
  })).observe({ type: "largest-contentful-paint", buffered: true });
})"""


@contextmanager
def page_server() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], cwd=ROOT)
    url = f"http://127.0.0.1:{port}/"
    try:
        give_up = time.monotonic() + START_S
        while True:
            try:
                urllib.request.urlopen(url, timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > give_up:
                    raise
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def measured(rounds: int) -> dict[str, list[dict[str, float]]]:
    """Paints by kind of visit, one entry a round: `bare` for the page of one line, `empty` and `full` by the cache."""
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium") or shutil.which("google-chrome")
    flags = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    found: dict[str, list[dict[str, float]]] = {"bare": [], "empty": [], "full": []}
    with page_server() as url, sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=executable, args=flags)
        for _ in range(rounds):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            for visit in found:
                page = context.new_page()
                page.set_default_timeout(WAIT_MS)
                page.goto(url + ("bare" if visit == "bare" else ""), wait_until="load")
                page.wait_for_selector("body[data-ready]")
                found[visit].append(page.evaluate(PAINTS))
                page.close()
            context.close()
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="visits of each kind")
    rounds = parser.parse_args().rounds
    found = measured(rounds)
    medians: dict[str, dict[str, Any]] = {}
    print(f"{'visit':8}{'first paint':>13}{'largest':>10}{'loaded':>10}{'requests':>10}{'kB':>8}")
    for visit, visits in found.items():
        row = {name: statistics.median(one[name] for one in visits) for name in visits[0]}
        medians[visit] = row | {"first_paint_worst_ms": max(one["first_paint_ms"] for one in visits)}
        times = f"{row['first_paint_ms']:>10.0f} ms{row['largest_paint_ms']:>7.0f} ms{row['loaded_ms']:>7.0f} ms"
        print(f"{visit:8}{times}{row['requests']:>10.0f}{row['bytes'] / 1000:>8.0f}")
    worst = medians["empty"]["largest_paint_ms"]
    print(f"asked for: under {TARGET_MS:.0f} ms; {'met' if worst < TARGET_MS else 'missed'}")
    RESULTS.mkdir(exist_ok=True)
    report = {"rounds": rounds, "target_ms": TARGET_MS, "cores": os.cpu_count(), "machine": platform.machine()}
    report |= {"load_average": os.getloadavg()[0], "median": medians}
    (RESULTS / "page.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
