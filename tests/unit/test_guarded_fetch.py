"""The guarded fetch against a real TLS server: what it gets, where it never connects, and when it gives up."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from gateway_fakes import picture
from tls_server import Names, Website, Wires, believing, redirects, says, server_tls, website

from gateway.errors import FetchFailed, FetchRefused
from gateway.security.fetch import FetchLimits, GuardedFetch, guarded_fetch
from gateway.security.resolver import SystemResolver
from gateway.settings import GatewaySettings

PUBLIC = "93.184.216.34"
PICTURE = picture()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return server_tls(tmp_path_factory.mktemp("certificates"), "pictures.test", "other.test", PUBLIC)


@pytest.fixture
async def site(tls: ssl.SSLContext) -> AsyncIterator[Website]:
    async with website(tls) as site:
        site.answers["/cat.png"] = says(PICTURE)
        yield site


def fetcher(site: Website, names: dict[str, Any] | None = None, **limits: Any) -> GuardedFetch:
    """A fetch in a network where every address leads to the site."""
    known = {"pictures.test": [[PUBLIC]], "other.test": [["1.1.1.1"]]} | (names or {})
    limits = {"bytes_max": 10_000, "timeout_s": 20.0} | limits
    return GuardedFetch(FetchLimits(**limits), Names(known), believing(), Wires(site.port))


def wires(fetch: GuardedFetch) -> Wires:
    assert isinstance(fetch.network, Wires)
    return fetch.network


async def test_a_picture_is_fetched_from_the_address_that_was_checked_under_the_name_that_was_asked_for(
    site: Website,
) -> None:
    fetch = fetcher(site)
    assert await fetch.fetch("https://Pictures.test/cat.png?size=2") == PICTURE
    assert wires(fetch).connected == [(PUBLIC, 443)]
    (visit,) = site.visits
    assert visit.server_name == "pictures.test"
    assert visit.path == "/cat.png?size=2"
    assert visit.headers == {
        "host": "pictures.test",
        "user-agent": "llava-plus",
        "accept": "image/*",
        "accept-encoding": "identity",
    }


async def test_neither_proxies_nor_credentials_of_the_gateways_own_are_used(
    site: Website, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine pictures.test login me password secret")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await fetcher(site).fetch("https://pictures.test/cat.png") == PICTURE
    assert "authorization" not in site.visits[0].headers


async def test_a_name_is_looked_up_once_so_that_a_second_answer_changes_nothing(site: Website) -> None:
    fetch = fetcher(site, {"pictures.test": [[PUBLIC], ["127.0.0.1"]]})
    assert await fetch.fetch("https://pictures.test/cat.png") == PICTURE
    assert wires(fetch).connected == [(PUBLIC, 443)]
    with pytest.raises(FetchRefused, match="no public address"):
        await fetch.fetch("https://pictures.test/cat.png")
    assert len(wires(fetch).connected) == 1


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["169.254.169.254"], [PUBLIC, "10.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], []],
)
async def test_a_name_that_leads_inside_is_refused_and_nothing_is_connected_to(
    site: Website, addresses: list[str]
) -> None:
    fetch = fetcher(site, {"inside.test": [addresses]})
    with pytest.raises(FetchRefused, match="there is no public address under this name"):
        await fetch.fetch("https://inside.test/cat.png")
    assert wires(fetch).connected == []


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "https://[::1]/", "https://[::ffff:a9fe:a9fe]/", "https://10.1/"]
)
async def test_an_address_inside_is_refused(site: Website, url: str) -> None:
    fetch = fetcher(site)
    with pytest.raises(FetchRefused):
        await fetch.fetch(url)
    assert wires(fetch).connected == []


async def test_a_public_address_is_fetched_from_if_the_certificate_is_its_own(site: Website) -> None:
    assert await fetcher(site).fetch(f"https://{PUBLIC}/cat.png") == PICTURE
    with pytest.raises(FetchFailed, match="no valid certificate"):
        await fetcher(site).fetch("https://1.1.1.1/cat.png")


async def test_a_certificate_of_another_name_is_refused(site: Website) -> None:
    with pytest.raises(FetchFailed, match="no valid certificate"):
        await fetcher(site, {"wrong.test": [[PUBLIC]]}).fetch("https://wrong.test/cat.png")
    assert site.visits == []


async def test_an_authority_that_nobody_believes_is_refused(site: Website) -> None:
    fetch = fetcher(site)
    fetch.tls = ssl.create_default_context()
    with pytest.raises(FetchFailed, match="no valid certificate"):
        await fetch.fetch("https://pictures.test/cat.png")
    assert site.visits == []


async def test_another_address_of_the_name_is_tried_when_one_is_dead(site: Website) -> None:
    fetch = fetcher(site, {"pictures.test": [["2a00:1450:4001::200e", PUBLIC]]})
    wires(fetch).dead = frozenset({"2a00:1450:4001::200e"})
    assert await fetch.fetch("https://pictures.test/cat.png") == PICTURE
    wires(fetch).dead = frozenset({"2a00:1450:4001::200e", PUBLIC})
    with pytest.raises(FetchFailed, match="cannot be reached"):
        await fetch.fetch("https://pictures.test/cat.png")


async def test_a_redirect_is_followed_by_a_new_connection_and_brings_no_cookie_along(site: Website) -> None:
    site.answers["/moved"] = redirects("https://other.test/here/../there", Set_Cookie="a=b")
    site.answers["/there"] = redirects("/cat.png")
    site.answers["/here/../there"] = site.answers["/there"]
    fetch = fetcher(site)
    assert await fetch.fetch("https://pictures.test/moved") == PICTURE
    assert wires(fetch).connected == [(PUBLIC, 443), ("1.1.1.1", 443), ("1.1.1.1", 443)]
    assert [visit.headers["host"] for visit in site.visits] == ["pictures.test", "other.test", "other.test"]
    assert not any("cookie" in visit.headers or "referer" in visit.headers for visit in site.visits)


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/latest/meta-data/",
        "https://2852039166/",
        "//169.254.169.254/",
        "https://inside.test/cat.png",
        "https://localhost/",
        "https://pictures.test:22/",
        "http://pictures.test/cat.png",
        "file:///etc/passwd",
        "https://me:secret@pictures.test/cat.png",
        "https://[::1/",
        "/a b",
    ],
)
async def test_a_redirect_is_checked_as_the_first_url_was(site: Website, location: str) -> None:
    site.answers["/moved"] = redirects(location)
    fetch = fetcher(site, {"inside.test": [["192.168.0.1"]]})
    with pytest.raises(FetchRefused):
        await fetch.fetch("https://pictures.test/moved")
    assert wires(fetch).connected == [(PUBLIC, 443)]


async def test_a_redirect_from_https_to_http_is_refused_even_where_http_is_taken(site: Website) -> None:
    site.answers["/moved"] = redirects("http://pictures.test/cat.png")
    fetch = fetcher(site, schemes=frozenset({"https", "http"}), ports=frozenset({80, 443}))
    with pytest.raises(FetchRefused, match="from https to http"):
        await fetch.fetch("https://pictures.test/moved")


async def test_redirects_are_followed_a_few_times_only(site: Website) -> None:
    site.answers["/round"] = redirects("/round")
    with pytest.raises(FetchFailed, match="more than 2 times"):
        await fetcher(site, redirects_max=2).fetch("https://pictures.test/round")
    assert len(site.visits) == 3


async def test_a_redirect_to_nowhere_is_a_failure(site: Website) -> None:
    site.answers["/moved"] = says(status="302 Found")
    with pytest.raises(FetchFailed, match="to nowhere"):
        await fetcher(site).fetch("https://pictures.test/moved")


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "206 Partial Content", "204 No Content"])
async def test_any_other_status_is_named(site: Website, status: str) -> None:
    site.answers["/x"] = says(b"secret page", status)
    with pytest.raises(FetchFailed, match=f"status {status[:3]}") as failed:
        await fetcher(site).fetch("https://pictures.test/x")
    assert "secret" not in failed.value.message


async def test_a_declared_length_over_the_limit_is_refused_before_the_body_is_read(site: Website) -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10001\r\n\r\n")
        await asyncio.Event().wait()

    site.answers["/large"] = answer
    with pytest.raises(FetchFailed, match="more than 10000 bytes"):
        await fetcher(site).fetch("https://pictures.test/large")


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Connection: close"])
async def test_an_endless_body_without_a_length_is_left_at_the_limit(site: Website, framing: str) -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        while True:
            writer.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
            await writer.drain()

    site.answers["/endless"] = answer
    with pytest.raises(FetchFailed, match="more than 10000 bytes"):
        await fetcher(site).fetch("https://pictures.test/endless")


async def test_a_body_that_is_compressed_is_not_inflated(site: Website, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(b"\0" * 5_000_000)
    assert len(bomb) < 10_000
    monkeypatch.setattr("zlib.decompressobj", lambda *_: pytest.fail("inflated"))
    site.answers["/bomb"] = says(bomb, Content_Encoding="gzip", Content_Type="image/png")
    with pytest.raises(FetchFailed, match="compressed"):
        await fetcher(site).fetch("https://pictures.test/bomb")


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nslow"])
async def test_a_server_that_dawdles_is_left_when_the_time_is_over(site: Website, begun: bytes) -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(begun)
        await asyncio.Event().wait()

    site.answers["/slow"] = answer
    with pytest.raises(FetchFailed, match=r"not there within 0\.3 seconds"):
        await fetcher(site, timeout_s=0.3).fetch("https://pictures.test/slow")
    async with asyncio.timeout(10):
        await site.left.wait()


async def test_a_server_that_sends_a_byte_now_and_then_does_not_get_more_time_for_it(site: Website) -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    site.answers["/drips"] = answer
    with pytest.raises(FetchFailed, match=r"not there within 0\.4 seconds"):
        await fetcher(site, timeout_s=0.4).fetch("https://pictures.test/drips")


async def test_a_name_server_that_does_not_answer_is_left_when_the_time_is_over(site: Website) -> None:
    class Silent(Names):
        async def addresses(self, host: str) -> Any:
            await asyncio.Event().wait()

    fetch = replace(fetcher(site, timeout_s=0.1), resolver=Silent({}))
    with pytest.raises(FetchFailed, match="not there within"):
        await fetch.fetch("https://pictures.test/cat.png")


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"",
    ],
)
async def test_what_is_not_http_or_breaks_off_is_a_failure(site: Website, head: bytes) -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await writer.drain()
        writer.close()

    site.answers["/odd"] = answer
    with pytest.raises(FetchFailed, match="does not speak HTTP"):
        await fetcher(site).fetch("https://pictures.test/odd")


async def test_a_server_without_tls_is_a_failure() -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server:
        site = Website(port=server.sockets[0].getsockname()[1])
        with pytest.raises(FetchFailed):
            await fetcher(site).fetch("https://pictures.test/cat.png")


async def test_a_private_object_store_that_is_allowed_is_fetched_from(site: Website) -> None:
    limits = {"ports": frozenset({site.port}), "networks": (ip_network("127.0.0.0/30"),)}
    names = {"pictures.test": [["127.0.0.1"]], "other.test": [["127.0.0.5"]]}
    fetch = replace(fetcher(site, names, **limits), network=GuardedFetch(FetchLimits(), Names({})).network)
    assert await fetch.fetch(f"https://pictures.test:{site.port}/cat.png") == PICTURE
    assert site.visits[0].headers["host"] == f"pictures.test:{site.port}"
    with pytest.raises(FetchRefused):
        await fetch.fetch(f"https://other.test:{site.port}/cat.png")


async def test_a_host_that_is_allowed_may_have_any_address_but_that_of_a_metadata_service(site: Website) -> None:
    fetch = fetcher(site, {"pictures.test": [["10.0.0.1"], ["169.254.169.254"]]}, hosts=frozenset({"pictures.test"}))
    assert await fetch.fetch("https://pictures.test/cat.png") == PICTURE
    with pytest.raises(FetchRefused):
        await fetch.fetch("https://pictures.test/cat.png")


async def test_only_so_many_are_fetched_at_the_same_time(site: Website) -> None:
    running, most, go = 0, 0, asyncio.Event()

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            go.set()
        await go.wait()
        running -= 1
        await says(PICTURE)(head, writer)

    site.answers["/slow"] = answer
    fetch = fetcher(site, at_once_max=2)
    found = await asyncio.gather(*(fetch.fetch("https://pictures.test/slow") for _ in range(6)))
    assert found == [PICTURE] * 6
    assert most == 2


def test_the_settings_say_whether_and_from_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAVA_PLUS_FETCH_ALLOWED", '["Minio.storage.svc", "10.1.0.0/16"]')
    monkeypatch.setenv("LLAVA_PLUS_FETCH_PORTS", "[443, 9000]")
    found = guarded_fetch(GatewaySettings())
    assert found is not None
    assert found.limits.hosts == {"minio.storage.svc"}
    assert found.limits.networks == (ip_network("10.1.0.0/16"),)
    assert found.limits.ports == {443, 9000}
    assert found.limits.schemes == {"https"}
    found.close()
    assert guarded_fetch(GatewaySettings(fetch_enabled=False)) is None


async def test_the_systems_resolver_gives_all_addresses_once_and_none_for_an_unknown_name() -> None:
    resolver = SystemResolver()
    assert "127.0.0.1" in [str(address) for address in await resolver.addresses("localhost")]
    assert [str(address) for address in await resolver.addresses("127.0.0.1")] == ["127.0.0.1"]
    assert await resolver.addresses("no-such-host.invalid") == ()
    resolver.close()
