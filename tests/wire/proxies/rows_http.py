# SPDX-License-Identifier: MIT
"""Dialogues of HTTP CONNECT, to the byte."""

from tests.wire.proxies.dialogues import Row
from tieline.errors import HTTPConnectError
from tieline.wire.proxies.http_connect import MAX_HEAD, HTTPConnect

ASK = b"CONNECT host.example:80 HTTP/1.1\r\nHost: host.example:80\r\n\r\n"
ASK_ANN = ASK[:-2] + b"Proxy-Authorization: Basic YW5uOnB3\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n\r\n"
LINE = b"HTTP/1.1 200 OK\r\n"


def host() -> HTTPConnect:
    return HTTPConnect("host.example", 80)


def host_ann() -> HTTPConnect:
    return HTTPConnect("host.example", 80, credentials=(b"ann", b"pw"))


def good(name: str, reply: bytes, status: int = 200) -> Row:
    return Row(name, host, ((ASK, reply),), status)


def refused(name: str, reply: bytes, says: str, status: int | None) -> Row:
    return Row(name, host, ((ASK, reply),), error=HTTPConnectError, says=says, code=status)


def fault(name: str, reply: bytes, says: str, is_cut: bool = False) -> Row:
    return Row(name, host, ((ASK, reply),), error=HTTPConnectError, says=says, is_cut=is_cut)


GOOD = [
    good("plain", OK),
    good("the shortest", b"HTTP/1.1 200\n\n"),
    good("short", b"HTTP/1.0 200\r\n\r\n"),
    good("tinyproxy", b"HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n"),
    good("another 2xx", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    good("lengths mean nothing", LINE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    good("bare line ends", b"HTTP/1.1 200 OK\nA: b\n\n"),
    good("mixed line ends", b"HTTP/1.1 200 OK\r\nA: b\n\r\n"),
    good("a stray carriage return", LINE + b"A: b\rc\r\n\r\n"),
    good("1xx before", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + OK),
    good("a reason beyond ASCII", b"HTTP/1.1 200 \xc3\xa4\r\n\r\n"),
    good("the longest", LINE + b"A: " + b"b" * (MAX_HEAD - len(LINE) - 7) + b"\r\n\r\n"),
    good("a phrase of other bytes", b"HTTP/1.1 200 O\0\x1bK\r\n\r\n"),
    Row("with a password", host_ann, ((ASK_ANN, OK),), 200),
    Row(
        "IPv6",
        lambda: HTTPConnect("2001:DB8::1", 443),
        ((b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n", OK),),
        200,
    ),
    Row(
        "IPv4",
        lambda: HTTPConnect("192.0.2.1", 443),
        ((b"CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n", OK),),
        200,
    ),
    Row(
        "beyond ASCII",
        lambda: HTTPConnect("bücher.example", 1),
        ((b"CONNECT xn--bcher-kva.example:1 HTTP/1.1\r\nHost: xn--bcher-kva.example:1\r\n\r\n", OK),),
        200,
    ),
]

BAD = [
    refused(
        "407",
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        "status 407 (Proxy Authentication Required): it wants",
        407,
    ),
    Row(
        "407 with a password",
        host_ann,
        ((ASK_ANN, b"HTTP/1.1 407 No\r\n\r\n"),),
        error=HTTPConnectError,
        says="does not accept the user name",
        code=407,
    ),
    refused(
        "407 with several challenges",
        b"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\n"
        b'Proxy-Authenticate: Basic realm="a, b", Digest nonce="c"\r\n'
        b"Content-Length: 3\r\n\r\nno!",
        "status 407",
        407,
    ),
    refused("the first that is no 2xx", b"HTTP/1.1 300 Multiple Choices\r\n\r\n", "status 300", 300),
    refused("407, and not a byte more", b"HTTP/1.1 407 No\r\n", "status 407", 407),
    refused("407, and not a byte more, of another length", b"HTTP/1.1 407 Not\r\n", "status 407", 407),
    refused("403", b"HTTP/1.0 403 Filtered\r\nContent-Length: 99\r\n\r\n<html>", "status 403 (Forbidden)", 403),
    refused("502, phrase of its own", b"HTTP/1.1 502 \x1b[31mpw\r\n\r\n", "status 502 (Bad Gateway)", 502),
    refused("an unknown status", b"HTTP/1.1 799\r\n\r\n", "status 799 (unknown status)", 799),
    refused("another protocol", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "status 101", 101),
    refused("a redirect", b"HTTP/1.1 302 Found\r\n\r\n", "status 302 (Found)", 302),
    refused(
        "refusal after 1xx",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 504 Late\r\n\r\n",
        "status 504 (Gateway Timeout)",
        504,
    ),
    fault("nobody", b"", "the HTTP proxy closed the connection without a reply", is_cut=True),
    fault("half a head", LINE + b"A:", "closed the connection in the middle of a reply", is_cut=True),
    fault("all but a byte", LINE + b"\r", "closed the connection in the middle of a reply", is_cut=True),
    fault("half a status line", b"HTTP/1.1 2", "in the middle of a reply", is_cut=True),
    fault("garbage", b"\x05\xff" + bytes(64), "did not begin its reply with HTTP/1. but with 0x05"),
    fault("a megabyte", b"\xa5" * 2**20, "but with 0xA5"),
    fault("HTTP/2", b"HTTP/2 200 OK\r\n\r\n", "did not begin its reply with HTTP/1."),
    fault("a page", b"<html><body>hello</body></html>", "did not begin"),
    fault("no digits", b"HTTP/1.1 two hundred\r\n\r\n", "not a status line"),
    fault("status 1000", b"HTTP/1.1 1000 OK\r\n\r\n", "not a status line"),
    fault("status 000", b"HTTP/1.1 000 OK\r\n\r\n", "not a status line"),
    fault("no space", b"HTTP/1.1 200OK\r\n\r\n", "not a status line"),
    fault("ends in the first bytes", b"HTTP/1.\n\n\n\n\n\n\n", "not a status line"),
    fault("a head without end", LINE + b"A: b\r\n" * 4000, f"over the limit of {MAX_HEAD} bytes"),
    fault("a line without end", LINE + b"A" * 2**20, f"over the limit of {MAX_HEAD} bytes"),
    fault("a status line without end", b"HTTP/1.1 200 " + b"A" * 2**20, f"over the limit of {MAX_HEAD} bytes"),
    fault("1xx without end", b"HTTP/1.1 100 Continue\r\n\r\n" * 4000, f"over the limit of {MAX_HEAD} bytes"),
]
