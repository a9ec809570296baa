# SPDX-License-Identifier: MIT
"""WebSocket endpoints as values, and the URLs that name them."""

from __future__ import annotations

from typing import Any

import pytest

from tieline import TCP, TLS, ClientSession, Methods, NewlineFramer, UnixStream, WebSocket, connect, parse, serve
from tieline.endpoints.secured import endpoint_with_tls
from tieline.endpoints.urls import carrier_of

HERE = TCP("host", 80)


@pytest.mark.row("D4")
@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("ws://host:80/", WebSocket(HERE)),
        ("wss://host:443/", WebSocket(TCP("host", 443, tls=TLS()))),
        ("ws://[::1]:8080/a/b?c=%20", WebSocket(TCP("::1", 8080), "/a/b?c=%20")),
    ],
)
def test_a_url_and_its_endpoint_give_each_other(url: str, endpoint: WebSocket) -> None:
    assert parse(url) == endpoint
    assert endpoint.url == url
    assert str(endpoint) == url.partition("?")[0]  # what is behind it may be a key, and texts have this
    assert hash(parse(url)) == hash(endpoint)


@pytest.mark.row("D4")
@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("WS://host", WebSocket(HERE)),
        ("wss://host", WebSocket(TCP("host", 443, tls=TLS()))),
        ("wss://[::1]", WebSocket(TCP("::1", 443, tls=TLS()))),
        ("ws://host?x=1", WebSocket(HERE, "/?x=1")),
        ("ws://host:81/p", WebSocket(TCP("host", 81), "/p")),
    ],
)
def test_other_spellings_are_understood(url: str, endpoint: WebSocket) -> None:
    assert parse(url) == endpoint


@pytest.mark.row("D4")
@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("ws:host", "needs //"),
        ("ws:///rpc", "host is missing"),
        ("ws://host/#x", "no fragment"),
        ("ws://host:99999/", "from 0 to 65535"),
        ("ws://host:/", "number from 0"),
        ("ws://host/ü", "begin with / and hold what a URL may hold"),
        ("ws://host/a b", "no spaces"),
        ("wss://me:secret@host/", "give headers instead"),
    ],
)
def test_a_bad_url_is_refused_with_what_was_seen_and_expected(url: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        parse(url)
    assert "secret" not in str(caught.value)


@pytest.mark.row("D4")
@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"under": "host"}, TypeError, "TCP or a UnixStream endpoint, not str"),
        ({"path": "no"}, ValueError, "path must begin with /"),
        ({"path": 3}, TypeError, "path must be a str, not int"),
        ({"health_path": "\n"}, ValueError, "health_path must begin with /"),
        ({"subprotocols": "one"}, TypeError, "not one str"),
        ({"subprotocols": None}, TypeError, "subprotocols must be several texts in a tuple, not None"),
        ({"subprotocols": 3}, TypeError, "not one int"),
        ({"headers": None}, TypeError, "headers must be pairs of name and value in a tuple, not NoneType"),
        ({"headers": {"A": "secret"}}, TypeError, "each of headers must be a pair of name and value, not str"),
        ({"headers": [("A", "secret", 1)]}, TypeError, "must be a pair of name and value, not tuple"),
        ({"subprotocols": ["a b"]}, ValueError, "token of HTTP, not 'a b'"),
        ({"origins": [3]}, TypeError, "what is in origins must be a str"),
        ({"headers": [("A b", "x")]}, ValueError, "token of HTTP"),
        ({"headers": [("A", "secret\r\nB: c")]}, ValueError, "header A must hold printable"),
        ({"headers": [("A", 3)]}, TypeError, "value of a header must be a str"),
        ({"headers": [("Upgrade", "x")]}, ValueError, "said by the handshake itself"),
        ({"origin": "a\nb"}, ValueError, "printable ASCII"),
        ({"ping_interval": 0}, ValueError, "ping_interval must be a number of seconds over 0, not 0"),
        ({"ping_interval": "5"}, TypeError, "ping_interval must be a number, not str"),
        ({"ping_timeout": float("nan")}, ValueError, "ping_timeout"),
        ({"ping_timeout": None}, ValueError, "ping_timeout must be a number of seconds over 0, not None"),
        ({"hosts": ["a.example:80"]}, ValueError, "without a port"),
    ],
)
def test_a_bad_value_is_refused(settings: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        WebSocket(**{"under": HERE, **settings})
    assert "secret" not in str(caught.value)


def test_headers_are_never_shown() -> None:
    endpoint = WebSocket(HERE, headers=[("Authorization", "Bearer secret")], hosts=["A.example.", "[::1]"])
    for text in (repr(endpoint), str(endpoint), endpoint.url):
        assert "secret" not in text
    assert "Authorization" in repr(endpoint)
    assert endpoint.hosts == ("a.example", "::1")


def test_what_carries_it() -> None:
    unix = UnixStream("/run/x")
    assert WebSocket(unix, "/p").url == "ws+unix:///run/x:/p"
    assert carrier_of(WebSocket(unix)) is unix
    assert carrier_of(unix) is unix
    secured = endpoint_with_tls(WebSocket(HERE), True)
    assert secured == WebSocket(TCP("host", 80, tls=TLS()))
    assert secured.tls == TLS()
    with pytest.raises(ValueError, match="give server_hostname"):
        connect(WebSocket(UnixStream("/run/x", tls=TLS())))


@pytest.mark.parametrize("make", [connect, ClientSession])
def test_a_framer_for_streams_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="keeps messages apart itself"):
        make("ws://host/", framer=NewlineFramer)


def test_a_framer_for_streams_is_refused_by_a_server_too() -> None:
    with pytest.raises(ValueError, match="keeps messages apart itself"):
        serve(Methods(), "ws://host/", framer=NewlineFramer)
