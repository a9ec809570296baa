# SPDX-License-Identifier: MIT
"""Transports for protocols of users' own: nothing happens on them but while somebody calls `poll`.

Below is what moves sessions as well, a socket or TLS on one; here is what a user holds of it.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from tieline.errors import LocalProtocolError
from tieline.finite import check_timeout
from tieline.runtimes.blocking.dialling import dial
from tieline.runtimes.blocking.host import BlockingHost
from tieline.runtimes.blocking.waiters import Waiter
from tieline.runtimes.contract import Transport
from tieline.wire.addresses import named

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tieline.endpoints.proxies import Route
    from tieline.endpoints.urls import StreamEndpoint

__all__ = ["PolledTransport", "dial_polled", "upgrade_polled"]

_Protocol = TypeVar("_Protocol")


class _PolledHost(BlockingHost):
    """A host that calls what was planned for soon only while it is polled, never from within a method of a transport.

    Attributes:
        is_polled: Somebody polls.
    """

    __slots__ = ("is_polled",)

    def __init__(self) -> None:
        super().__init__()
        self.is_polled = True  # while it is dialled

    def drain(self) -> None:
        if self.is_polled:
            super().drain()


class PolledTransport(Transport):
    """The transport of a connection in blocking code: asyncio's contract, where the loop is `poll`.

    There is no thread and no loop behind it. `poll` and `wait_closed` move it: they read, send what is left, keep the
    time, and call the protocol. Nothing else does, but for ``pause_writing`` and ``resume_writing``, which come from
    `write` and `set_write_buffer_limits` as well, as in asyncio. What a callback raises comes out of what called it,
    and the connection is closed.

    `write` sends at once what the system takes, and so does `close`; the rest waits for `poll`. It belongs to one
    thread at a time.

    Attributes:
        inner: What it stands on: the socket's own transport, or the TLS layer. Not for users.
    """

    __slots__ = ("_eof_written", "_host", "inner")

    def __init__(self, host: _PolledHost) -> None:
        self._host = host
        self.inner: Any = None  # there from `connection_made` on
        self._eof_written = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.inner!r}>"

    # --- moving it -----------------------------------------------------------------------------------------------

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Let the connection move on by one step, and return whether it did.

        False means that nothing came in time; or, at once, that nothing can come: the connection is gone and the
        protocol knows; or, without a timeout, reading is paused and nothing is left to be sent.

        A step reads once and delivers that, or sends some of what is left, or keeps the time of TLS, or makes the calls
        that are due (``connection_lost``, data that waited for `resume_reading`); several of these if they are there.
        It need not call the protocol: half a TLS record moves the connection, too.

        Args:
            timeout: Seconds to wait for something to do; 0 = only look; None = without end.

        Raises:
            Exception: What a callback raised.
            LocalProtocolError: Called from within a callback.
        """
        host = self._host
        if host.is_moving():
            raise LocalProtocolError("poll() and wait_closed() must not be called from within a callback")
        host.is_polled = True
        try:
            if host.soon:
                host.do(_nothing)  # which makes the calls
                return True
            if not self._can_move(timeout):
                return False
            waiter = Waiter(host)
            host.moves.append(waiter)
            host.activity.append(waiter)
            try:
                return host.wait_for(waiter, timeout)
            finally:
                for waiters in (host.moves, host.activity):
                    if waiter in waiters:
                        waiters.remove(waiter)
        finally:
            host.is_polled = False

    def _can_move(self, timeout: float | None) -> bool:
        socket_transport = self._host.transport
        if socket_transport is None or socket_transport.is_gone:
            return False
        return (
            timeout is not None or socket_transport.wants_data or bool(socket_transport.unsent) or self._host.has_timers
        )

    def wait_closed(self, timeout: float | None = None) -> None:
        """Move the connection until it is gone and the protocol has been told; behind `close`: until all is sent.

        Raises:
            TimeoutError: It is not gone within *timeout* seconds; `abort` cuts it.
            LocalProtocolError: Reading is paused and nothing is left to be sent, so it would be waited for without end.
            Exception: What `poll` raises.
        """
        timeout = check_timeout("timeout", timeout)
        host = self._host
        until = inf if timeout is None else host.now() + timeout
        while host.soon or not (host.transport is None or host.transport.is_gone):
            seconds = until - host.now()
            if self.poll(None if seconds == inf else max(0.0, seconds)):
                continue
            if seconds == inf:
                raise LocalProtocolError("nothing is read or sent, so the connection would never be closed")
            if seconds <= 0:
                raise TimeoutError(f"the connection is not closed after {timeout:g} s")

    def secure(self, new_layer: Callable[..., Any], what: str, unread: bytes) -> None:
        """Stand on a layer of TLS from here on; see `upgrade_polled`. Not for users."""
        host = self._host
        if host.is_moving():
            raise LocalProtocolError("TLS must not be started from within a callback")
        waiter = Waiter(host)

        def settle(error: BaseException | None) -> None:
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(named(error, what) if isinstance(error, OSError) else error)

        layer = new_layer(host=host, on_handshake=settle, is_made=True)
        host.is_polled = True
        try:
            lower, self.inner = self.inner, layer
            host.do(layer.go_between, lower, unread)
            host.wait(waiter)
            waiter.result()
        except BaseException:
            host.do(layer.abort)
            raise
        finally:
            host.is_polled = False

    # --- facts ---------------------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.inner.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return bool(self.inner.is_closing())

    def set_protocol(self, protocol: Any) -> None:
        self._host.do(self.inner.set_protocol, protocol)

    def get_protocol(self) -> Any:
        """Return the protocol; None when the connection is gone and it was told."""
        return self.inner.get_protocol()

    # --- reading -------------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        return bool(self.inner.is_reading())

    def pause_reading(self) -> None:
        self._host.do(self.inner.pause_reading)

    def resume_reading(self) -> None:
        self._host.do(self.inner.resume_reading)

    # --- writing -------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not isinstance(data, bytes):
            if not isinstance(data, bytearray | memoryview):  # pyright: ignore[reportUnnecessaryIsInstance]  # asked
                raise TypeError(f"data must be bytes-like, not {type(data).__name__}")
            data = memoryview(data).cast("B")
        if self._eof_written:
            raise RuntimeError("write() after write_eof()")
        if data:
            self._host.do(self.inner.write, data)

    def can_write_eof(self) -> bool:
        return bool(self.inner.can_write_eof())

    def write_eof(self) -> None:
        self._host.do(self.inner.write_eof)
        self._eof_written = True

    def get_write_buffer_size(self) -> int:
        size: int = self.inner.get_write_buffer_size()
        return size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        limits: tuple[int, int] = self.inner.get_write_buffer_limits()
        return limits

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._host.do(self.inner.set_write_buffer_limits, high, low)

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Deliver nothing more, and close when all is sent; `wait_closed` waits for that, and `poll` goes on with it.

        When all is sent already the socket is closed at once; ``connection_lost(None)`` comes with the next `poll`.
        """
        self._host.do(self.inner.close)

    def abort(self) -> None:
        """Close the socket at once; what is unsent is dropped. ``connection_lost(None)`` comes with the next `poll`."""
        self._host.do(self.inner.abort)


class _Introduction:
    """The protocol of a connection up to `connection_made`: then the user's takes its place, and gets the transport."""

    __slots__ = ("_transport", "protocol")

    def __init__(self, protocol: Any, transport: PolledTransport) -> None:
        self.protocol = protocol
        self._transport = transport

    def connection_made(self, inner: Any) -> None:
        self._transport.inner = inner
        inner.set_protocol(self.protocol)
        self.protocol.connection_made(self._transport)


def dial_polled(
    protocol_factory: Callable[[], _Protocol],
    endpoint: StreamEndpoint,
    *,
    timeout: float | None,
    sock: socket.socket | None = None,
    route: Route | None = None,
    handshake_timeout: float | None,
    shutdown_timeout: float,
) -> tuple[PolledTransport, _Protocol]:
    """Connect as `dial` does, and return a transport that its user polls, and the protocol.

    When the protocol's `connection_made` fails, that comes out, and the connection is closed.
    """
    host = _PolledHost()
    transport = PolledTransport(host)
    try:
        _, introduction = dial(
            lambda: _Introduction(protocol_factory(), transport),
            endpoint,
            host,
            timeout=timeout,
            sock=sock,
            route=route,
            handshake_timeout=handshake_timeout,
            shutdown_timeout=shutdown_timeout,
        )
    finally:
        host.is_polled = False
    protocol: _Protocol = introduction.protocol
    return transport, protocol


def upgrade_polled(
    transport: PolledTransport, protocol: Any, *, what: str, unread: bytes = b"", **settings: Any
) -> None:
    """Put TLS between *transport* and its *protocol*; return behind the handshake.

    *unread* is what has come that nobody has read, *what* the beginning of the text of errors; *settings* are those of
    `TLSLayer.of`. When it fails, or is interrupted, the connection is lost, and *protocol* hears it.
    """
    from tieline.runtimes.tls.layer import TLSLayer  # lazily: most programs never start TLS

    if not isinstance(transport, PolledTransport):  # pyright: ignore[reportUnnecessaryIsInstance]  # a user's
        raise TypeError(f"TLS can start on the transport of a stream, not on {type(transport).__name__}")
    transport.secure(partial(TLSLayer.of, protocol, **settings), what, unread)


def _nothing() -> None: ...
