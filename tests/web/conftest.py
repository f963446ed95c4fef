"""A gateway with the page, and a real Chromium that looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis as redis_client

from tests.conftest import free_port
from tests.web.actions import Talk
from tests.web.chromium import WAIT_MS, chromium
from tests.web.site import Site


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def shared_site(redis_url: str) -> Iterator[Site]:
    site = Site(redis_url, free_port())
    site.start()
    yield site
    site.stop()


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """The gateway, with nothing stored and its planner as new."""
    with redis_client.Redis.from_url(shared_site.redis_url) as client:
        client.flushdb()
    shared_site.renew()
    yield shared_site
    shared_site.renew()


@dataclass
class Watch:
    """What pages did besides what was asked: requests to elsewhere, errors in the console.

    `allowed` are beginnings of console errors that a test causes on purpose.
    """

    origin: str
    elsewhere: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ()

    def listen(self, context: Any) -> None:
        context.on("request", self._request)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def _request(self, request: Any) -> None:
        if urlsplit(request.url).scheme not in ("data", "blob") and not request.url.startswith(self.origin):
            self.elsewhere.append(request.url)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def check(self) -> None:
        assert self.elsewhere == []
        assert [error for error in self.errors if not error.startswith(self.allowed or "\0")] == []


@pytest.fixture
def watch(site: Site) -> Iterator[Watch]:
    """Checks at the end that no request left the machine and that the console stayed silent."""
    watch = Watch(site.url)
    yield watch
    watch.check()


@pytest.fixture
def talk(browser: Any, site: Site, watch: Watch, request: pytest.FixtureRequest) -> Iterator[Talk]:
    """The page, open and ready. `@pytest.mark.parametrize("talk", [{...}], indirect=True)` sets the window."""
    options = {"viewport": {"width": 1280, "height": 900}} | getattr(request, "param", {})
    context = browser.new_context(**options)
    context.set_default_timeout(WAIT_MS)
    watch.listen(context)
    page = context.new_page()
    talk = Talk(page, site)
    talk.open()
    yield talk
    context.close()
