"""URLs and addresses: what leads inside is refused in every spelling."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.security.addresses import AddressPolicy
from gateway.security.urls import BadUrl, parse

HTTPS = {"schemes": {"https"}, "ports": {443}}


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.255.255.254",
        "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1",
        "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250",
        "240.0.0.1", "255.255.255.255", "168.63.129.16", "100.100.100.200",
        "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:93.184.216.34", "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::5db8:d822", "64:ff9b:1::a9fe:a9fe", "100::1", "2001::1", "2001:0:4136:e378::1",
        "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:5db8:d822::1", "3fff::1", "3ffe::1",
        "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%1", "2a00:1450::1%1", "fec0::1",
        "ff02::1", "2a00:1450::200:5efe:7f00:1", "2a00:1450::5efe:a9fe:a9fe",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_not_connected_to(text: str) -> None:
    assert not AddressPolicy().permits(ip_address(text))


@pytest.mark.parametrize("text", ["93.184.216.34", "1.1.1.1", "100.63.255.255", "172.32.0.1", "2a00:1450:4001::200e"])
def test_a_public_address_is_connected_to(text: str) -> None:
    assert AddressPolicy().permits(ip_address(text))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_an_ipv6_one_is_never_more_than_itself(address: object) -> None:
    bits = int(address)  # type: ignore[call-overload]
    for network in ("::ffff:0:0", "64:ff9b::"):
        assert not AddressPolicy().permits(ip_address(int(ip_address(network)) + bits))
    assert not AddressPolicy().permits(ip_address((0x2002 << 112) + (bits << 80) + 1))


def test_an_operator_may_allow_a_network_but_no_metadata_service() -> None:
    policy = AddressPolicy([ip_network("10.1.0.0/16"), ip_network("169.254.0.0/16"), ip_network("64:ff9b::/96")])
    assert policy.permits(ip_address("10.1.2.3"))
    assert not policy.permits(ip_address("10.2.0.1"))
    assert not policy.permits(ip_address("169.254.169.254"))
    assert policy.permits(ip_address("64:ff9b::5db8:d822")), "NAT64 to a public address"
    assert not policy.permits(ip_address("64:ff9b::7f00:1"))
    assert not policy.permits(ip_address("64:ff9b::a9fe:a9fe"))
    assert AddressPolicy().permits(ip_address("192.168.0.1"), trusted=True)
    assert not AddressPolicy().permits(ip_address("169.254.169.254"), trusted=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://2130706433/", "https://0x7f000001/", "https://017700000001/", "https://127.1/", "https://127.0.1/",
        "https://0177.0.0.1/", "https://0x7f.0.0.1/", "https://127.0.0.0x1/", "https://127.000.000.001/",
        "https://1.2.3.4.5/", "https://1.2.3.256/", "https://0/", "https://0x/", "https://foo.1/", "https://1.2.3.4../",
        "https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://a.localhost/", "https://redis/",
        "https://metadata.google.internal/", "https://metadata.google.internal./", "https://printer.local/",
        "https://[127.0.0.1]/", "https://[::1/", "https://::1/", "https://[fe80::1%25eth0]/", "https://[::1]x/",
        "https://[v1.x]/",
        "https://user@example.org/", "https://user:password@example.org/", "https://@example.org/",
        "https://example.org@127.0.0.1/", "https://127.0.0.1#@example.org:99999/",
        "https://example.org\\@127.0.0.1/", "https://exam ple.org/", "https://example.org/\r\nHost: x",
        "https://example.org\t/", "https://%31%32%37.0.0.1/", "https://example.org%00/", "https://exa%6dple.org/",
        "https://⑯⑨.②⑤④.⑯⑨.②⑤④⑯/", "https://a..b/", "https://-a.org/",
        "https://.example.org/", "https:///path", "https:example.org", "https:/example.org", "https://",
        "https://example.org:80/", "https://example.org:8443/", "https://example.org:0/", "https://example.org:65536/",
        "https://example.org:\uff14\uff14\uff13/", "https://example.org:443:443/", "https://example.org:-1/",
        "http://example.org/", "ftp://example.org/", "file:///etc/passwd", "gopher://example.org/", "HTTPS+x://a.b/",
        "https://exam\u202eple.org/ \u2028", "https://" + "a" * 64 + ".org/", "https://example.org/" + "a" * 5000,
    ],
)  # fmt: skip
def test_a_url_that_could_lead_elsewhere_is_refused(url: str) -> None:
    try:
        target = parse(url, **HTTPS)
    except BadUrl:
        return
    # Spellings that name an address are as good as the address: what is behind it decides.
    assert target.address is not None
    assert not AddressPolicy().permits(target.address)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://127.0.0.1/", "127.0.0.1"),
        ("https://127.0.0.1./", "127.0.0.1"),
        ("https://①②⑦.0.0.1/", "127.0.0.1"),
        ("https://127。0。0。1/", "127.0.0.1"),
        ("https://[0:0:0:0:0:0:0:1]/", "::1"),
        ("https://[::ffff:7f00:1]:443/", "::ffff:7f00:1"),
    ],
)
def test_an_address_is_known_as_one_however_it_is_written(url: str, host: str) -> None:
    target = parse(url, **HTTPS)
    assert target.address == ip_address(host)
    assert not AddressPolicy().permits(target.address)


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://Example.ORG/a%20b?x=1&y=%2F#part", "example.org", "/a%20b?x=1&y=%2F"),
        ("HTTPS://example.org.:443", "example.org", "/"),
        ("https://bücher.example.org/ä", "xn--bcher-kva.example.org", "/%C3%A4"),
        ("https://example.org?x", "example.org", "/?x"),
        ("https://a_b.example.org//x/../y;z", "a_b.example.org", "//x/../y;z"),
        ("https://93.184.216.34/x", "93.184.216.34", "/x"),
        ("https://[2A00:1450:4001::200E]/x", "2a00:1450:4001::200e", "/x"),
    ],
)
def test_a_url_is_taken_apart(url: str, host: str, path: str) -> None:
    target = parse(url, **HTTPS)
    assert (target.host, target.path, target.port) == (host, path, 443)


def test_schemes_ports_and_names_of_ones_own_can_be_allowed() -> None:
    target = parse("http://minio:9000/x", schemes={"http"}, ports={9000}, hosts={"minio"})
    assert target.authority == "minio:9000"
    assert parse(target.url, schemes={"http"}, ports={9000}, hosts={"minio"}) == target


@given(st.text(max_size=40))
def test_no_url_whatever_raises_anything_but_its_own_error(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}/", f"https://example.org{text}"):
        try:
            target = parse(url, **HTTPS)
        except BadUrl:
            continue
        assert target.host.isascii()
        assert target.path.isascii()
        assert target.path.startswith("/")
