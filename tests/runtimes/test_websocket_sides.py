# SPDX-License-Identifier: MIT
"""runtimes/websocket/sides: what an endpoint makes of the two sides: the name that is asked for, and who may come."""

from __future__ import annotations

import pytest

from tieline import TCP, TLS, UnixStream, WebSocket
from tieline.runtimes.websocket.sides import client_side, visitors_of
from tieline.wire.websocket.visitors import LOOPBACK


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("server.example", b"server.example:81"),
        ("bücher.example", b"xn--bcher-kva.example:81"),
        ("例え.example", b"xn--r8jz45g.example:81"),
        ("::1", b"[::1]:81"),
        ("fe80::1%lo", b"[fe80::1]:81"),
    ],
)
def test_a_client_asks_for_a_host_by_letters_that_headers_may_have(host: str, asked: bytes) -> None:
    side = client_side(WebSocket(TCP(host, 81)), object())
    side.start()
    (line,) = [line for line in side.data_to_send().split(b"\r\n") if line.startswith(b"Host: ")]
    assert line == b"Host: " + asked


@pytest.mark.row("H72")
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"])
def test_a_server_on_a_loopback_address_goes_by_its_names_alone(host: str) -> None:
    visitors = visitors_of(WebSocket(TCP("bücher.example", 80)), [TCP(host, 80)])
    assert visitors.hosts == LOOPBACK | {"xn--bcher-kva.example"}


@pytest.mark.parametrize("listening", [TCP("192.0.2.1", 80), TCP("::", 80), TCP("fe80::1%lo", 80), UnixStream("/x")])
def test_one_on_any_other_goes_by_any_name(listening: TCP | UnixStream) -> None:
    assert visitors_of(WebSocket(TCP("127.0.0.1", 80)), [TCP("127.0.0.1", 80), listening]).hosts is None


def test_the_names_that_are_given_go_before() -> None:
    endpoint = WebSocket(TCP("127.0.0.1", 80, tls=TLS()), hosts=["API.example.", "bücher.example"])
    visitors = visitors_of(endpoint, [TCP("127.0.0.1", 80)])
    assert visitors.hosts == {"api.example", "xn--bcher-kva.example"}
    assert visitors.is_secure
