# SPDX-License-Identifier: MIT
"""Connections that are polled, plain and over TLS, with a bare socket at the other end that another thread drives."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.certificates import Certificates
from tests.rpc.blocking.peers import Task
from tests.runtimes.stories import BufferedStory, Story
from tieline import TLS
from tieline.blocking import create_connection
from tieline.transports import BufferedProtocol

BIG = b"x" * (8 << 20)


class BufferedTale(BufferedStory, BufferedProtocol):
    """A story of a protocol that brings buffers, by its class."""

    data_received = None  # type: ignore[assignment]  # a buffered protocol has none


class Scene:
    """A story on a connection, and its peer.

    Attributes:
        story: The protocol; a test that puts another in its place says so here.
    """

    def __init__(self, story: Story, transport: Any, peer: Any) -> None:
        self.story = story
        self.transport: Any = transport
        self.peer = peer
        self.raised: list[BaseException] = []

    def turn(self, timeout: float = 0.0) -> bool:
        """Poll, and keep what the protocol raises."""
        try:
            return bool(self.transport.poll(timeout))
        except ArithmeticError as exc:
            self.raised.append(exc)
            return True

    def turns(self, count: int = 3) -> None:
        for _ in range(count):
            self.turn()

    def until(self, condition: Callable[[], object]) -> None:
        """Poll until *condition* holds."""
        patience = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < patience, self.story.told
            self.turn(0.01)

    def with_peer(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run *function* in a thread, and poll until it has returned."""
        task = Task(function, *args)
        self.until(lambda: not task.thread.is_alive())
        return task.result()

    def drain(self) -> bytes:
        """Read in a thread until the stream ends."""

        def read() -> bytes:
            found = bytearray()
            while data := self.peer.recv(1 << 16):
                found += data
            return bytes(found)

        return bytes(self.with_peer(read))


@contextmanager
def polled(kind: type[Story] = Story, certificates: Certificates | None = None, **orders: Any) -> Iterator[Scene]:
    """Give a story on a connection, over TLS with *certificates*."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        if certificates is None:
            transport, story = create_connection(lambda: kind(**orders), host, port)
            peer, _ = listener.accept()
        else:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificates.server)
            task = Task(_accepted_over_tls, listener, context)
            transport, story = create_connection(
                lambda: kind(**orders), host, port, ssl=TLS(ca=certificates.ca), server_hostname="localhost"
            )
            peer = task.result()
    peer.settimeout(10)
    scene = Scene(story, transport, peer)
    with peer:
        yield scene
    transport.abort()
    transport.wait_closed(10)
    assert scene.story.told.count("lost") == 1
    assert scene.story.told[-1] == "lost"
    assert transport.get_extra_info("socket").fileno() == -1


def _accepted_over_tls(listener: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    sock, _ = listener.accept()
    sock.settimeout(10)
    return context.wrap_socket(sock, server_side=True)
