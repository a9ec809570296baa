# SPDX-License-Identifier: MIT
"""endpoints: what can be an endpoint, how it is written as a URL, and what is said about what cannot."""

import os
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tieline
import tieline.blocking
from tieline.endpoints.datagrams import UDP, DatagramEndpoint, UnixDatagram
from tieline.endpoints.tcp import TCP
from tieline.endpoints.tls import TLS
from tieline.endpoints.unix import UnixStream
from tieline.endpoints.urls import Endpoint, connection_endpoint, parse

LONGEST_PATH = 107 if sys.platform == "linux" else 103

# (URL, endpoint); each is what the other gives
ROUND_TRIPS: list[tuple[str, Endpoint | DatagramEndpoint]] = [
    ("tcp://127.0.0.1:4000", TCP("127.0.0.1", 4000)),
    ("tcp://host.example:0", TCP("host.example", 0)),
    ("tcp://host_with-others.example.:65535", TCP("host_with-others.example.", 65535)),
    ("tcp://bücher.example:1", TCP("bücher.example", 1)),
    ("tcp://[::1]:80", TCP("::1", 80)),
    ("tcp://[fe80::1%25eth0]:80", TCP("fe80::1%eth0", 80)),
    ("tcp://[fe80::1%2525]:80", TCP("fe80::1%25", 80)),
    ("tcp://:80", TCP(None, 80)),
    ("tcp://127.0.0.1,[::1]:80", TCP(("127.0.0.1", "::1"), 80)),
    ("tls://host.example:443", TCP("host.example", 443, tls=TLS())),
    ("tls://[::1]:443", TCP("::1", 443, tls=TLS())),
    ("tls://:443", TCP(None, 443, tls=TLS())),
    ("unix:///run/app.sock", UnixStream("/run/app.sock")),
    ("unix:////run/app.sock", UnixStream("//run/app.sock")),
    ("unix:run/app.sock", UnixStream("run/app.sock")),
    ("unix:./@app", UnixStream("./@app")),
    ("unix:@app", UnixStream("@app")),
    ("unix:@app/1", UnixStream("\0app/1")),
    ("unix:///a%20b%25%3Fc%23", UnixStream("/a b%?c#")),
    ("unix:///%FF", UnixStream(os.fsdecode(b"/\xff"))),
    ("udp://127.0.0.1:53", UDP("127.0.0.1", 53)),
    ("udp://[fe80::1%25eth0]:53", UDP("fe80::1%eth0", 53)),
    ("udp://host.example:0", UDP("host.example", 0)),
    ("udp://:53", UDP(None, 53)),
    ("udp://127.0.0.1,[::1]:53", UDP(["127.0.0.1", "::1"], 53)),
    ("unix-dgram:///run/app.sock", UnixDatagram("/run/app.sock")),
    ("unix-dgram:run/app.sock", UnixDatagram(b"run/app.sock")),
    ("unix-dgram:@app", UnixDatagram("@app")),
    ("unix-dgram:///%FF", UnixDatagram(b"/\xff")),
]

# (URL, what the other spelling of an endpoint gives)
OTHER_SPELLINGS: list[tuple[str, Endpoint | DatagramEndpoint]] = [
    ("TCP://127.0.0.1:080", TCP("127.0.0.1", 80)),
    ("tcp://[fe80::1%eth0]:80", TCP("fe80::1%eth0", 80)),
    ("unix:/run/app.sock", UnixStream("/run/app.sock")),
    ("unix:%00app", UnixStream("@app")),
    ("UNIX:///run/%61pp", UnixStream("/run/app")),
    ("UDP://127.0.0.1:053", UDP("127.0.0.1", 53)),
    ("unix-dgram:%00app", UnixDatagram("@app")),
]

# (URL, what the error says)
BAD_URLS = [
    ("", "no scheme"),
    (
        "localhost",
        "of tcp:, tls:, unix:, ws:, wss:, udp:, unix-dgram:, cmd:, stdio: but has no scheme: write tcp://host:port$",
    ),
    (
        "localhost:80",
        "tcp:, tls:, unix:, ws:, wss:, udp:, unix-dgram:, cmd:, stdio: but has the scheme 'localhost'",
    ),
    ("http://host:80", "the scheme 'http': a WebSocket is ws://host:port/path$"),
    ("HTTPS://host", "the scheme 'HTTPS': a WebSocket is wss://host:port/path$"),
    ("ftp://host:80", "the scheme 'ftp'$"),
    ("127.0.0.1:80", "has the scheme '127[.]0[.]0[.]1': write tcp://host:port$"),
    ("/run/socket", "has no scheme: write unix:path$"),
    ("x" * 99 + ":", "the scheme '" + "x" * 32 + "'"),
    ("tcp:host:80", "needs //"),
    ("tls:host:80", "a tls URL needs //"),
    ("tls://host", "port is missing in tls://host; expected tls://host:port"),
    ("tls://host:80/", "a path follows"),
    ("tcp://host", "port is missing in tcp://host; expected tcp://host:port"),
    ("tcp://[::1]", "port is missing"),
    ("tcp://", "port is missing"),
    ("tcp://host:", "number from 0 to 65535, not ''"),
    ("tcp://host:65536", "number from 0 to 65535, not '65536'"),
    ("tcp://host:-1", "not '-1'"),
    ("tcp://host:+1", "not"),
    ("tcp://host:1_0", "not"),
    ("tcp://host:000001", "not"),
    ("tcp://host:\N{ARABIC-INDIC DIGIT ONE}", "not"),
    ("tcp://host:http", "not 'http'"),
    ("tcp://::1:80", "brackets"),
    ("tcp://[::1:80", "bracket is not closed"),
    ("tcp://[host]:80", "only an IPv6 address"),
    ("tcp://[::g]:80", "neither a name nor an IPv6 address"),
    ("tcp://a,:80", "must not be empty"),
    ("tcp://host:80/", "a path follows"),
    ("tcp://host:80?x=1", "a query follows"),
    ("tcp://host:80#x", "a fragment follows"),
    ("tcp://ho st:80", "no spaces"),
    ("tcp://host\r\n:80", "no control characters"),
    ("tcp://host:80\n", "no control characters"),
    ("tcp://host\0:80", "no control characters"),
    ("tcp://*:80", "any of"),
    ("unix:", "must not be empty"),
    ("unix:@", "must not be empty"),
    ("unix://", "has no host"),
    ("unix://host/path", "no host, but 'host'"),
    ("unix://relative", "no host, but 'relative'"),
    ("unix:///a?b", "write '[?]' as %3F"),
    ("unix:///a#b", "write '#' as %23"),
    ("unix:///a b", "no spaces"),
    ("unix:///a%00b", "no NUL"),
    ("unix:///" + "a" * 200, "201 bytes"),
    ("udp:host:80", "a udp URL needs //"),
    ("udp://host:80/", "a path follows"),
    ("udp://host", "port is missing in udp://host; expected udp://host:port"),
    ("udp://ann:pass@host:1", "no user and no password"),
    ("unix-dgram://host/path", "a unix-dgram URL has no host, but 'host'"),
    ("unix-dgram:", "must not be empty"),
    ("unix-dgram:///a?b", "write '[?]' as %3F"),
]


@pytest.mark.row("D4")
@pytest.mark.parametrize(("url", "endpoint"), ROUND_TRIPS)
def test_a_url_and_its_endpoint_give_each_other(url: str, endpoint: Endpoint | DatagramEndpoint) -> None:
    assert parse(url) == endpoint
    assert endpoint.url == str(endpoint) == url
    assert hash(parse(url)) == hash(endpoint)


@pytest.mark.row("D4")
@pytest.mark.parametrize(("url", "endpoint"), OTHER_SPELLINGS)
def test_other_spellings_are_understood(url: str, endpoint: Endpoint | DatagramEndpoint) -> None:
    assert parse(url) == endpoint


@pytest.mark.row("D4")
@pytest.mark.parametrize(("url", "text"), BAD_URLS)
def test_a_bad_url_is_refused_with_what_was_seen_and_expected(url: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse(url)


@pytest.mark.row("D4")
@pytest.mark.parametrize(
    "url",
    ["tcp://me:secret@host:80", "tls://me:secret@host:80", "tcp://me:sec/ret@host:80", "http://me:secret@h", "secret"],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"must start with|no user and no password") as caught:
        parse(url)
    assert "sec" not in str(caught.value)


@given(st.text())
def test_any_text_is_an_endpoint_or_a_value_error(text: str) -> None:
    for url in (text, f"tcp:{text}", f"tls://{text}:1", f"tcp://{text}:1", f"unix:{text}"):
        try:
            endpoint = parse(url)
        except ValueError:
            continue
        assert parse(endpoint.url) == endpoint


GOOD_TCP: dict[str, Any] = {"host": "host", "port": 80}

# (arguments, error, its text)
BAD_TCP: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"port": -1}, ValueError, "port must be from 0 to 65535, not -1"),
    ({"port": 65536}, ValueError, "port must be from 0 to 65535"),
    ({"port": "80"}, TypeError, "port must be an int, not str"),
    ({"port": True}, TypeError, "port must be an int, not bool"),
    ({"host": ""}, ValueError, "must not be empty"),
    ({"host": ()}, ValueError, "empty sequence"),
    ({"host": ["a", ""]}, ValueError, "must not be empty"),
    ({"host": ["a", None]}, TypeError, "host must be a str, not NoneType"),
    ({"host": b"a"}, TypeError, "host must be a str, several of them or None, not bytes"),
    ({"host": 80}, TypeError, "host must be a str, several of them or None, not int"),
    ({"host": "[::1]"}, ValueError, "without brackets"),
    ({"host": "a b"}, ValueError, "spaces"),
    ({"host": "a\N{NO-BREAK SPACE}b"}, ValueError, "spaces"),
    ({"host": "a\0b"}, ValueError, "control characters"),
    ({"host": "a\r\nb"}, ValueError, "control characters"),
    ({"host": "a@b"}, ValueError, "no user and no password"),
    ({"host": "a:b"}, ValueError, "neither a name nor an IPv6 address"),
    ({"host": "127.0.0.1%lo"}, ValueError, "neither a name nor an IPv6 address"),
    ({"host": "a..b"}, ValueError, "not a valid name"),
    ({"host": "a" * 64}, ValueError, "not a valid name"),
    ({"host": "a." + "b" * 64 + ".c"}, ValueError, "not a valid name"),
    ({"host": ".a"}, ValueError, "not a valid name"),
    ({"host": "a" * 64}, ValueError, "not a valid name"),
    ({"host": "a." * 128}, ValueError, "256 characters long"),
    ({"host": "ü." * 60}, ValueError, "in its IDNA form"),
    ({"interleave": -1}, ValueError, "interleave must be 0 or more"),
    ({"backlog": -1}, ValueError, "backlog must be 0 or more"),
    ({"happy_eyeballs_delay": -0.1}, ValueError, "happy_eyeballs_delay must be"),
    ({"happy_eyeballs_delay": float("nan")}, ValueError, "happy_eyeballs_delay must be"),
    ({"happy_eyeballs_delay": float("inf")}, ValueError, "happy_eyeballs_delay must be"),
    ({"reuse_port": "no"}, TypeError, "reuse_port must be a bool, not str"),
    ({"reuse_port": 1}, TypeError, "reuse_port must be a bool, not int"),
    ({"tls": True}, TypeError, "tls of an endpoint must be a TLS value or None, not bool"),
    ({"local_addr": ("a b", 0)}, ValueError, "spaces"),
    ({"local_addr": ("a", 65536)}, ValueError, "port of local_addr must be"),
]


@pytest.mark.row("D4")
@pytest.mark.parametrize(("arguments", "error", "text"), BAD_TCP)
def test_an_impossible_tcp_endpoint_cannot_be_made(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        TCP(**(GOOD_TCP | arguments))


@pytest.mark.row("D5")
@pytest.mark.parametrize(
    "host", ["a", "A-b.example.", "x" * 63, "1", "127.0.0.1", "xn--bcher-kva.example", "b\xfccher.example", "_srv.a"]
)
def test_names_and_addresses_are_kept_as_they_are(host: str) -> None:
    assert TCP(host, 1).host == host


def test_a_url_that_was_read_before_gives_an_equal_value_and_no_url_is_still_told() -> None:
    assert parse("tcp://once:1") == parse("tcp://once:1") == TCP("once", 1)
    for wrong in (None, ["tcp://once:1"], b"tcp://once:1"):
        with pytest.raises(TypeError, match="url must be a str"):
            parse(wrong)  # type: ignore[arg-type]  # that is the test


def test_several_hosts_are_kept_as_a_tuple_and_one_as_itself() -> None:
    several = TCP(["a", "b"], 1)
    assert several.host == several.hosts == ("a", "b")
    assert TCP(["a"], 1) == TCP("a", 1)
    assert TCP("a", 1).hosts == ("a",)
    assert TCP(None, 1).hosts == (None,)


def test_a_local_address_becomes_a_tuple_so_that_the_endpoint_can_be_a_key() -> None:
    local: Any = ["127.0.0.1", 0]
    assert {TCP("a", 1, local_addr=local): 1}[TCP("a", 1, local_addr=("127.0.0.1", 0))] == 1


def test_endpoints_are_frozen_values() -> None:
    endpoint = TCP("a", 1)
    with pytest.raises(FrozenInstanceError):
        endpoint.port = 2  # type: ignore[misc]  # frozen
    assert replace(endpoint, port=2) == TCP("a", 2)


@pytest.mark.row("H70")
def test_a_path_of_the_kernel_s_length_is_allowed_and_one_byte_more_is_not() -> None:
    for start in ("/", "@", ""):
        path = start + "é" * ((LONGEST_PATH - len(start)) // 2)
        path += "a" * (LONGEST_PATH - len(os.fsencode(path)))
        assert UnixStream(path).path == path
        with pytest.raises(ValueError, match=f"is {LONGEST_PATH + 1} bytes long, and the system allows {LONGEST_PATH}"):
            UnixStream(path + "a")


# (arguments, error, its text)
BAD_UNIX: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"path": ""}, ValueError, "must not be empty"),
    ({"path": "@"}, ValueError, "must not be empty"),
    ({"path": "\0"}, ValueError, "must not be empty"),
    ({"path": "/a\0b"}, ValueError, "no NUL"),
    ({"path": "\0a\0b"}, ValueError, "no NUL"),
    ({"path": b"/a"}, TypeError, "path must be a str"),
    ({"path": 1}, TypeError, "int"),
    ({"mode": 0o1777}, ValueError, "mode must be from 0 to 511"),
    ({"mode": -1}, ValueError, "mode"),
    ({"mode": "0600"}, TypeError, "mode must be an int"),
    ({"backlog": -1}, ValueError, "backlog"),
    ({"tls": "tls"}, TypeError, "TLS value or None, not str"),
]


@pytest.mark.row("D4")
@pytest.mark.parametrize(("arguments", "error", "text"), BAD_UNIX)
def test_an_impossible_unix_endpoint_cannot_be_made(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        UnixStream(**{"path": "/a"} | arguments)


def test_a_path_object_and_both_spellings_of_an_abstract_name_are_taken() -> None:
    assert UnixStream(Path("/a")) == UnixStream("/a")
    assert UnixStream("\0a") == UnixStream("@a")
    assert (UnixStream("@a").is_abstract, UnixStream("@a").address) == (True, "\0a")
    assert (UnixStream("./@a").is_abstract, UnixStream("./@a").address) == (False, "./@a")


def test_the_default_permissions_are_the_owner_s_alone() -> None:
    assert (UnixStream("/a").mode, UnixStream("/a").backlog, TCP("a", 1).backlog) == (0o600, 1024, 1024)


MAKERS: list[Callable[[str], object]] = [lambda host: TCP(host, 1), lambda host: TLS(server_hostname=host)]


@pytest.mark.row("H80")
@pytest.mark.parametrize("make", MAKERS)
def test_what_may_be_a_password_is_not_repeated(make: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match="no user and no password") as caught:
        make("user:sekret@example.org")
    assert "sekret" not in str(caught.value)


BAD_DATAGRAMS: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: UDP("", 1), ValueError, "host must not be empty"),
    (lambda: UDP("h", 65536), ValueError, "from 0 to 65535"),
    (lambda: UDP("h", 1, max_size=-1), ValueError, "max_size must be 0 or more"),
    (lambda: UDP("h", 1, reuse_port="no"), TypeError, "reuse_port must be a bool"),  # type: ignore[arg-type]  # the mistake that is shown
    (lambda: UDP("h", 1, allow_broadcast=1), TypeError, "allow_broadcast must be a bool"),  # type: ignore[arg-type]  # the mistake that is shown
    (lambda: UDP("h", 1, local_addr=("h", -1)), ValueError, "port of local_addr"),
    (lambda: UnixDatagram(""), ValueError, "path of a Unix socket must not be empty"),
    (lambda: UnixDatagram("a", ""), ValueError, "local_path of a Unix socket must not be empty"),
    (lambda: UnixDatagram("a" * 200), ValueError, "200 bytes long"),
    (lambda: UnixDatagram("a", mode=0o1000), ValueError, "mode must be from 0 to 511"),
    (lambda: UnixDatagram(5), TypeError, "not int"),  # type: ignore[arg-type]  # the mistake that is shown
]


@pytest.mark.row("D4")
@pytest.mark.parametrize(("make", "error", "text"), BAD_DATAGRAMS)
def test_what_no_socket_of_datagrams_can_be(make: Callable[[], object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


@pytest.mark.row("D4")
@pytest.mark.parametrize("url", ["udp://127.0.0.1:53", "unix-dgram:@app"])
def test_who_needs_a_stream_says_so(url: str) -> None:
    text = f"a connection is needed here, and {url} is a socket of datagrams"
    serve = partial(tieline.serve, tieline.Methods())
    uses: list[Callable[[Any], object]] = [connection_endpoint, tieline.connect, tieline.blocking.connect, serve]
    for use in uses:
        with pytest.raises(ValueError, match=text):
            use(url)
        with pytest.raises(TypeError, match=text):
            use(parse(url))
    with pytest.raises(TypeError, match=r"URL is needed, not int: write tcp://host:port, or TCP\(host, port\)$"):
        connection_endpoint(5)  # type: ignore[arg-type]  # the mistake that is shown
    with pytest.raises(TypeError, match="not tuple: write tcp://host:port"):
        connection_endpoint(("host", 80))  # type: ignore[arg-type]  # the mistake that is shown
    with pytest.raises(TypeError, match=r"Path: write unix:path, or UnixStream\(path\)$"):
        connection_endpoint(Path("socket"))  # type: ignore[arg-type]  # the mistake that is shown


def test_endpoints_of_datagrams_are_values() -> None:
    assert UnixDatagram("@app").is_abstract
    assert not UnixDatagram("app").is_abstract
    assert replace(UDP("h", 1), port=2) == UDP("h", 2)
    assert UDP("h", 1, local_addr=["a", 1]).local_addr == ("a", 1)  # type: ignore[arg-type]  # a list is taken too
