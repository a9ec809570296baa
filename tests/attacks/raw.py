# SPDX-License-Identifier: MIT
"""A peer that is a bare socket: it sends what it is told, and reads while it sends, so that it never stands still."""

import itertools
import json
import os
import select
import socket
import ssl
import struct
import time
from collections import deque
from contextlib import suppress
from functools import cache
from typing import Any, Self

from tieline import FramerBase

PATIENCE = 10.0
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_numbers = itertools.count()


def fresh(name: str) -> str:
    """Return a name that was not used before."""
    return f"{name} {next(_numbers)}"


def line(method: str, *params: object, id: object = 1, **members: object) -> bytes:
    """Return a call as a line of JSON-RPC 2.0; `id=None` makes a notification, since a null id is not used here."""
    payload: dict[str, object] = {"jsonrpc": "2.0", "method": method, "params": list(params)}
    if id is not None:
        payload["id"] = id
    return json.dumps(payload | members, ensure_ascii=False).encode() + b"\n"


def lines(method: str, ids: range, *params: object) -> bytes:
    """Return a call for each of *ids*, in one piece."""
    frame = line(method, *params, id=0).replace(b"%", b"%%").removesuffix(b"0}\n") + b"%d}\n"
    return b"".join([frame % number for number in ids])


@cache
def careless_context() -> ssl.SSLContext:
    """Return a client's context that checks nothing: attackers do not mind whom they attack."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def dial(url: str, source: str | None = None, *, handshake: bool = True) -> socket.socket:
    """Connect to *url*, over TCP from the address *source*; without the handshake a TLS port gets no TLS."""
    scheme, _, place = url.partition("://")
    if scheme == "unix":
        sock = socket.socket(socket.AF_UNIX)
        # Not `settimeout`, by which a full accept queue is an error and not a wait.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(PATIENCE), 0))
        sock.connect(place)
        return sock
    host, port = place.partition("/")[0].rsplit(":", 1)
    if scheme == "udp":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect((host, int(port)))
        return sock
    sock = socket.create_connection((host, int(port)), PATIENCE, (source, 0) if source else None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if scheme in ("tcp", "ws") or not handshake:
        return sock
    with sock:  # wrapping detaches it; a handshake that fails does not
        return careless_context().wrap_socket(sock, suppress_ragged_eofs=False)


class Peer:
    """One connection. The peer does not close TLS in order when it leaves, unless it says so with `shutdown_write`.

    Args:
        url: Where to.
        source: The address to come from; None = as the system likes.
        handshake: Whether a TLS port gets TLS.
        framer: How messages are cut from what comes, and wrapped by `wrapped`; None = by lines.

    Attributes:
        url: Where it is connected.
        source: Where it came from, as asked for.
        sent: How many bytes went out.
        received: How many bytes came in.
        ended: The other side closed in order.
        was_reset: The other side reset the connection.
        is_refused: The other side takes no more bytes, since it has closed.
    """

    def __init__(
        self,
        url: str,
        source: str | None = None,
        *,
        handshake: bool = True,
        framer: FramerBase[Any] | None = None,
    ) -> None:
        self.url, self.source = url, source
        self.sock = dial(url, source, handshake=handshake)
        self.sock.setblocking(False)
        self.sent = self.received = 0
        self.ended = self.was_reset = self.is_refused = False
        self._buffer = bytearray()
        self._framer = framer
        self._messages: deque[bytes] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """End with RST (TCP; a Unix socket just closes)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def shutdown_write(self) -> None:
        """Say that nothing more is sent: with FIN, over TLS with close_notify and without a FIN."""
        if isinstance(self.sock, ssl.SSLSocket):
            with suppress(*WOULD_BLOCK, ssl.SSLError):
                self.sock.unwrap()  # waits for the other side's close_notify: it comes with `read_more`
        else:
            self.sock.shutdown(socket.SHUT_WR)

    def bare(self) -> socket.socket:
        """Return the socket below TLS, to be closed."""
        return socket.socket(fileno=os.dup(self.sock.fileno()))

    def truncate(self) -> None:
        """Send a FIN and no close_notify before it."""
        with self.bare() as bare:  # the method of SSLSocket forgets its TLS
            bare.shutdown(socket.SHUT_WR)

    # --- sending -----------------------------------------------------------------------------------------------------

    def send(self, data: bytes | memoryview, *, patience: float = PATIENCE, reads: bool = True) -> bool:
        """Send *data*, reading meanwhile; return whether all of it was taken in time."""
        view = memoryview(data)
        until = time.monotonic() + patience
        while view and not self.was_reset:
            left = until - time.monotonic()
            if left <= 0:
                return False
            wanted = [self.sock] if reads and not self.ended else []
            readable, writable, _ = select.select(wanted, [self.sock], [], left)
            if readable:
                self._read()
            if writable:
                try:
                    count = self.sock.send(view[: 1 << 18])
                except WOULD_BLOCK:
                    continue
                except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                    self.is_refused = True
                    return False
                self.sent += count
                view = view[count:]
        return not view

    def pour(self, data: bytes, stuck: float = 0.15) -> bool:
        """Send *data* without reading; return whether all of it was taken before nothing was for so many seconds."""
        for start in range(0, len(data), 1 << 16):
            if not self.send(data[start : start + (1 << 16)], patience=stuck, reads=False):
                return False
        return True

    @staticmethod
    def pour_all(poured: dict["Peer", bytes], stuck: float = 0.15) -> None:
        """Send to several peers at once without reading, until nothing was taken for so many seconds."""
        left = {peer: memoryview(data) for peer, data in poured.items()}
        until = time.monotonic() + stuck
        while left and time.monotonic() < until:
            for peer, view in list(left.items()):
                before = peer.sent
                is_over = peer.send(view[: 1 << 20], patience=0.002, reads=False) or peer.is_refused
                if peer.sent > before:
                    left[peer] = view[peer.sent - before :]
                    until = time.monotonic() + stuck
                if is_over and not left[peer]:
                    del left[peer]

    def pause(self, seconds: float) -> None:
        """Say nothing for so long, since that is the input of the case."""
        select.select([], [], [], seconds)

    # --- receiving ---------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        data = self._receive()
        if data is None:
            return
        self.received += len(data)
        self.ended = not data
        if self._framer is None:
            self._buffer += data
            return
        messages, fault = self._framer.take(data)
        assert fault is None, fault
        self._messages += messages

    def _receive(self) -> bytes | None:
        """Return what has come; b"" = the end, None = nothing, or a reset."""
        try:
            return self.sock.recv(1 << 18)
        except WOULD_BLOCK:
            return None
        except ssl.SSLZeroReturnError:  # close_notify, when ours has been sent
            return b""
        except (ConnectionResetError, ssl.SSLError):  # SSLEOFError: FIN without close_notify
            self.was_reset = True
            return None

    def forget(self) -> None:
        """Drop what came in and was not taken."""
        self._buffer.clear()
        self._messages.clear()

    def read_more(self, patience: float) -> bool:
        """Wait for bytes or the end; return False when nothing happened in time."""
        if self.ended or self.was_reset:
            return True
        readable, _, _ = select.select([self.sock], [], [], max(0.0, patience))
        if readable:
            self._read()
        return bool(readable)

    def take(self, count: int, patience: float = PATIENCE) -> bytes:
        """Return the next *count* bytes. Fails when the connection ends first, or when they do not come."""
        until = time.monotonic() + patience
        while len(self._buffer) < count:
            assert not self.was_reset, f"reset behind {len(self._buffer)} of {count} bytes"
            assert not self.ended, f"EOF behind {len(self._buffer)} of {count} bytes"
            assert self.read_more(until - time.monotonic()), f"silence behind {len(self._buffer)} of {count} bytes"
        found = bytes(self._buffer[:count])
        del self._buffer[:count]
        return found

    def take_line(self, patience: float = PATIENCE) -> bytes | None:
        """Return the next line; None when the connection ended first. Fails when neither comes."""
        until = time.monotonic() + patience
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if self.ended or self.was_reset:
                return None
            assert self.read_more(until - time.monotonic()), f"silence for {patience} s on an open connection"
        found = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return found

    def take_message(self, patience: float = PATIENCE) -> bytes | None:
        """Return the next message, however messages are framed; otherwise as `take_line`."""
        if self._framer is None:
            return self.take_line(patience)
        until = time.monotonic() + patience
        while not self._messages:
            if self.ended or self.was_reset:
                return None
            assert self.read_more(until - time.monotonic()), f"silence for {patience} s on an open connection"
        return self._messages.popleft()

    def wrapped(self, *messages: bytes) -> bytes:
        """Return *messages* as they are framed here; a newline at their ends is not part of them."""
        if self._framer is None:
            return b"".join(messages)
        return self._framer.frame([message.removesuffix(b"\n") for message in messages])

    def answer_or_end(self, patience: float = PATIENCE) -> Any:
        """Return the next message decoded; None at the end of the connection, in order or not."""
        found = self.take_message(patience)
        return None if found is None else json.loads(found)

    def answer(self, patience: float = PATIENCE) -> Any:
        """Return the next message decoded. Fails at the end of the connection."""
        found = self.take_message(patience)
        assert found is not None, "reset in place of an answer" if self.was_reset else "EOF in place of an answer"
        return json.loads(found)

    def call(self, method: str, *params: object, id: object = "call", patience: float = PATIENCE) -> Any:
        """Call, and return the result; other messages before the answer are passed over."""
        assert self.send(self.wrapped(line(method, *params, id=id)), patience=patience)
        while True:
            answer = self.answer(patience)
            if isinstance(answer, dict) and answer.get("id") == id and "method" not in answer:
                assert "error" not in answer, answer
                return answer["result"]

    def rest(self, patience: float = PATIENCE, *, may_be_reset: bool = False) -> list[Any]:
        """Return all messages up to the end of the connection. Fails when it was reset, or stays open."""
        found = []
        while (message := self.take_message(patience)) is not None:
            found.append(json.loads(message))
        assert may_be_reset or not self.was_reset, "reset, not closed in order"
        assert not self._buffer, "EOF within a line"
        assert self._framer is None or not self._framer.pending, "EOF within a message"
        return found
