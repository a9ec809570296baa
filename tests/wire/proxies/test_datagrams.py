# SPDX-License-Identifier: MIT
"""wire/proxies/datagrams.py: datagrams by way of a SOCKS5 proxy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tieline.errors import SOCKSProtocolError
from tieline.wire.proxies.datagrams import relay_address, unwrapped, wrapped

pytestmark = pytest.mark.row("P7")

ROWS = [
    ("192.0.2.1", 53, b"\0\0\0\x01\xc0\x00\x02\x01\x00\x35"),
    ("2001:db8::1", 53, b"\0\0\0\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x00\x35"),
    ("host.example", 65535, b"\0\0\0\x03\x0chost.example\xff\xff"),
]


@pytest.mark.parametrize(("host", "port", "header"), ROWS)
@pytest.mark.parametrize("data", [b"", b"payload", bytes(60_000)], ids=len)
def test_a_datagram_has_its_header_and_loses_it_again(host: str, port: int, header: bytes, data: bytes) -> None:
    assert wrapped(host, port, data) == header + data
    assert unwrapped(header + data) == ((host, port), data)


def test_an_ipv4_address_within_an_ipv6_one_is_told_as_what_it_is() -> None:
    header = b"\0\0\0\x04" + bytes(10) + b"\xff\xff\xc0\x00\x02\x01\x00\x35"
    assert unwrapped(header + b"data") == (("192.0.2.1", 53), b"data")


@pytest.mark.parametrize(("host", "port", "header"), ROWS)
def test_a_datagram_that_ends_in_its_header_is_none(host: str, port: int, header: bytes) -> None:
    for length in range(len(header)):
        with pytest.raises(SOCKSProtocolError, match=r"shorter than any header|ends within its header"):
            unwrapped(header[:length])


@pytest.mark.parametrize(
    ("datagram", "says"),
    [
        (b"\0\0\x01\x01\x7f\0\0\x01\0\x35data", "is a fragment"),
        (b"\0\0\0\x00\x7f\0\0\x01\0\x35data", "address type 0x00, expected 1, 3 or 4"),
        (b"\0\0\0\x05\x7f\0\0\x01\0\x35data", "address type 0x05"),
    ],
)
def test_what_is_to_be_dropped_says_why(datagram: bytes, says: str) -> None:
    with pytest.raises(SOCKSProtocolError, match=says):
        unwrapped(datagram)


@given(st.binary(max_size=400))
def test_any_datagram_is_read_or_refused(datagram: bytes) -> None:
    try:
        (host, port), data = unwrapped(datagram)
    except SOCKSProtocolError:
        return
    assert datagram.endswith(data)
    assert host == "" or host.isprintable()
    assert 0 <= port <= 65535


@pytest.mark.parametrize(("host", "port"), [("", 1), ("a b", 1), ("h", 0), ("h", 65536), ("::1%lo", 1)])
def test_a_target_that_cannot_be_named_is_refused(host: str, port: int) -> None:
    with pytest.raises(ValueError, match=r"host|port"):
        wrapped(host, port, b"")


@pytest.mark.parametrize(
    ("bound", "relay"),
    [
        (("192.0.2.9", 5000), ("192.0.2.9", 5000)),
        (("0.0.0.0", 5000), ("198.51.100.1", 5000)),
        (("::", 5000), ("198.51.100.1", 5000)),
        (("2001:db8::9", 5000), ("2001:db8::9", 5000)),
    ],
)
def test_datagrams_go_where_the_proxy_says_or_to_the_proxy(bound: tuple[str, int], relay: tuple[str, int]) -> None:
    assert relay_address(bound, "198.51.100.1") == relay


@pytest.mark.parametrize(
    ("bound", "proxy", "relay"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.9", "::1", "127.0.0.9"),
        ("127.0.0.1", "::ffff:127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::1", "2001:db8::9", "2001:db8::9"),
        ("::ffff:127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:0.0.0.0", "198.51.100.1", "198.51.100.1"),
        ("::", "fe80::1%lo", "fe80::1%lo"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("172.31.255.254", "198.51.100.1", "198.51.100.1"),
        ("172.32.0.1", "198.51.100.1", "172.32.0.1"),
        ("192.168.1.1", "2001:db8::9", "2001:db8::9"),
        ("::ffff:169.254.169.254", "198.51.100.1", "198.51.100.1"),
        ("100.64.0.1", "198.51.100.1", "198.51.100.1"),
        ("fd00::1", "2001:db8::9", "2001:db8::9"),
        ("fe80::1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.168.0.9", "10.0.0.1"),
        ("10.0.0.1", "fe80::1%lo", "10.0.0.1"),
        ("127.0.0.1", "10.0.0.9", "10.0.0.9"),
        ("10.0.0.1", "127.0.0.1", "10.0.0.1"),
        ("::ffff:192.0.2.9", "198.51.100.1", "192.0.2.9"),
        ("fe80::9", "fe80::1%lo", "fe80::9%lo"),
        ("fe80::9", "192.168.0.9", "192.168.0.9"),
        ("fe80::9", "fd00::1", "fd00::1"),
        ("192.0.2.9", "127.0.0.1", "192.0.2.9"),
        ("192.0.2.9", "10.0.0.9", "192.0.2.9"),
        ("169.254.3.4", "10.0.0.9", "169.254.3.4"),
    ],
)
def test_a_proxy_far_away_sends_nobody_to_his_own_machine_or_network(bound: str, proxy: str, relay: str) -> None:
    """What listens there relies on no stranger's being there; and an honest proxy means its own."""
    assert relay_address((bound, 5000), proxy) == (relay, 5000)


@pytest.mark.parametrize(
    ("bound", "says"),
    [
        (("192.0.2.9", 0), "no port"),
        (("relay.example", 9), "but a name"),
        (("224.0.0.251", 9), "named 224.0.0.251 to send datagrams to, which is not one host"),
        (("255.255.255.255", 9), "not one host"),
        (("ff02::1", 9), "not one host"),
    ],
)
def test_a_relay_that_is_no_address_is_refused(bound: tuple[str, int], says: str) -> None:
    with pytest.raises(SOCKSProtocolError, match=says):
        relay_address(bound, "198.51.100.1")
