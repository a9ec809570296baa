# SPDX-License-Identifier: MIT
"""Two TLS layers back to back: transports in memory that move bytes as told, and a clock that stands still.

Each upper protocol checks the contract as it goes: nothing nested, nothing while paused, nothing behind the end.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, cast

from tests.certificates import Certificates
from tests.runtimes.link_scene import FakeHost
from tieline import TLS
from tieline.runtimes.host import Host
from tieline.runtimes.tls.layer import TLSLayer
from tieline.runtimes.tls.records import Records


class Pipe:
    """A transport in memory: what is written waits until `move` takes it to the other end."""

    def __init__(self, host: FakeHost, *, prompt: bool = False) -> None:
        self.host = host
        self.prompt = prompt  # `connection_lost` comes from inside `abort` and `close`, as it may outside of callbacks
        self.peer: Pipe
        self.protocol: Any = None
        self.unsent = bytearray()
        self.said = b""  # all that was ever moved from here
        self.high, self.low = 64 * 1024, 16 * 1024
        self.is_full = self.is_paused = self.is_going = self.is_lost = self.ended = self.eof_told = False
        self.is_leaving = False  # it is about to be told that it is gone
        self.is_blocked = False  # the other end takes nothing

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        assert data
        if self.is_going:
            return
        self.unsent += data
        if len(self.unsent) > self.high and not self.is_full:
            self.is_full = True
            self.protocol.pause_writing()

    def pause_reading(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume_reading(self) -> None:
        assert self.is_paused
        self.is_paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = 64 * 1024 if high is None else high
        self.low = self.high // 4 if low is None else low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return (self.low, self.high)

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return "somebody" if name == "peername" else default

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """End this direction, behind what is unsent."""
        self.ended = True

    def is_closing(self) -> bool:
        return self.is_going

    def close(self) -> None:
        if not self.is_going:
            self.is_going = True
            self._maybe_go()

    def abort(self) -> None:
        self.is_going = True
        self.unsent.clear()
        self._maybe_go()

    def _maybe_go(self) -> None:
        if self.is_going and not self.unsent and not self.is_leaving:
            self.is_leaving = True
            self.lose(None)

    def lose(self, error: BaseException | None) -> None:
        """Be gone: in this turn or the next."""
        self.is_going = self.ended = self.is_leaving = True
        if self.prompt:
            self._tell(error)
        else:
            self.host.call_soon(lambda: self._tell(error))

    def _tell(self, error: BaseException | None) -> None:
        if not self.is_lost:
            self.is_lost = True
            self.protocol.connection_lost(error)

    # --- the network ---------------------------------------------------------------------------------------------

    def move(self, size: int) -> bool:
        """Take up to *size* bytes to the other end, or the end of the stream; return whether anything moved."""
        if self.is_blocked or self.peer.is_paused:
            return False
        if self.unsent:
            data = bytes(self.unsent[:size])
            del self.unsent[:size]
            self.said += data
            if len(self.unsent) <= self.low and self.is_full:
                self.is_full = False
                if not self.is_lost:
                    self.protocol.resume_writing()
            if not self.peer.is_going:
                self.peer.protocol.data_received(data)
            self._maybe_go()
            return True
        if self.ended and not self.eof_told:
            self.eof_told = True
            if not self.peer.is_going and not self.peer.protocol.eof_received():
                self.peer.close()
            return True
        return False


@dataclass
class Upper:
    """A protocol that writes down what it hears, and checks that it may hear it."""

    told: list[str] = field(default_factory=list)
    data: bytes = b""
    error: BaseException | None = None
    transport: Any = None
    on_made: Any = None
    on_data: Any = None
    on_eof: Any = None
    on_full: Any = None
    busy: bool = False

    def _hear(self, what: str, reaction: Any = None, *args: object) -> None:
        assert not self.busy, f"{what} is nested"
        assert "lost" not in self.told
        self.told.append(what)
        if reaction is not None:
            self.busy = True
            try:
                reaction(*args)
            finally:
                self.busy = False

    def connection_made(self, transport: Any) -> None:
        assert not self.told
        self.transport = transport
        self._hear("made", self.on_made)

    def data_received(self, data: bytes) -> None:
        assert data
        assert self.transport.is_reading()
        self.data += data
        self._hear("data", self.on_data, data)

    def eof_received(self) -> bool:
        assert "eof" not in self.told
        self._hear("eof", self.on_eof)
        return True

    def pause_writing(self) -> None:
        assert self.told.count("full") == self.told.count("room")
        self.told.append("full")  # may come from inside a write
        if self.on_full is not None:
            self.on_full()

    def resume_writing(self) -> None:
        assert self.told.count("full") == self.told.count("room") + 1
        self.told.append("room")

    def connection_lost(self, error: BaseException | None) -> None:
        self.error = error
        self._hear("lost")


@dataclass
class End:
    """One side of the scene."""

    upper: Any
    layer: TLSLayer
    pipe: Pipe
    shaken: list[BaseException | None]

    @property
    def told(self) -> list[str]:
        return cast("list[str]", self.upper.told)


@dataclass
class Scene:
    host: FakeHost
    client: End
    server: End

    def begin(self) -> Scene:
        for end in (self.client, self.server):
            end.layer.connection_made(end.pipe)
        return self

    def run(self, size: int = 1 << 20) -> Scene:
        """Move *size* bytes at a time, in turns, until nothing moves any more."""
        moved = True
        while moved or self.host.soon:
            self.host.turn()
            moved = self.client.pipe.move(size) | self.server.pipe.move(size)
        return self

    def ends(self) -> tuple[End, End]:
        return self.client, self.server


def client_context(certificates: Certificates, **settings: Any) -> ssl.SSLContext:
    return TLS(ca=certificates.ca, **settings).client_context()


def server_context(certificates: Certificates, **settings: Any) -> ssl.SSLContext:
    return TLS(certificate=certificates.server, **settings).server_context()


def scene(
    certificates: Certificates,
    *,
    client: ssl.SSLContext | None = None,
    server: ssl.SSLContext | None = None,
    uppers: tuple[Any, Any] | None = None,
    records: tuple[Records, Records] | None = None,
    prompt: bool = False,
    **settings: Any,
) -> Scene:
    """Return a scene before its handshake."""
    host = FakeHost()
    uppers = uppers or (Upper(), Upper())
    records = records or (
        Records(client or client_context(certificates), server_hostname="localhost"),
        Records(server or server_context(certificates), server_side=True),
    )
    ends = []
    for upper, one in zip(uppers, records, strict=True):
        shaken: list[BaseException | None] = []
        chosen = {"handshake_timeout": 10.0, "shutdown_timeout": 5.0} | settings
        layer = TLSLayer(upper, one, cast("Host", host), on_handshake=shaken.append, **chosen)
        pipe = Pipe(host, prompt=prompt)
        pipe.protocol = layer
        ends.append(End(upper, layer, pipe, shaken))
    first, second = ends
    first.pipe.peer, second.pipe.peer = second.pipe, first.pipe
    return Scene(host, first, second)


def opened(certificates: Certificates, **settings: Any) -> Scene:
    """Return a scene behind its handshake."""
    stage = scene(certificates, **settings).begin().run()
    assert [end.shaken for end in stage.ends()] == [[None], [None]]
    return stage
