# SPDX-License-Identifier: MIT
"""Listening on trio: from an endpoint to a `Listener` whose connections go to a protocol factory.

The sockets are made here and accepted from by `accepting.py`.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import checkpoint

from tieline.endpoints.command import Stdio
from tieline.errors import LocalProtocolError
from tieline.runtimes.listening import Listener, bind, endpoint_of
from tieline.runtimes.trio.accepting import Acceptor, attach
from tieline.runtimes.trio.sockets import resolve
from tieline.wire.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tieline.endpoints.tls import TLS
    from tieline.endpoints.urls import StreamEndpoint
    from tieline.runtimes.stdio import StdioListener
    from tieline.runtimes.tls.handshakes import Handshakes
    from tieline.runtimes.trio.host import TrioHost

__all__ = ["listen"]


class _Listener(Listener):
    __slots__ = ("_host",)

    def __init__(self, host: TrioHost, acceptors: Sequence[Acceptor], *rest: Any) -> None:
        super().__init__(acceptors, *rest)
        self._host = host
        host.hold()
        try:
            for acceptor in acceptors:
                acceptor.open(self.close)
        except LocalProtocolError:
            self.close()
            raise

    def close(self) -> None:
        is_open = not self._closed.is_set()
        super().close()
        if is_open:
            self._host.release()


async def listen(
    host: TrioHost,
    protocol_factory: Callable[[], Any],
    endpoint: StreamEndpoint,
    *,
    sock: socket.socket | None = None,
    limits: Limits | None = None,
    starts: bool = True,
) -> Listener | StdioListener:
    """Listen on *endpoint*; each connection accepted gets a protocol of *protocol_factory*.

    All of it lives in the nursery of *host*: when that is cancelled, the listener is closed.
    With *sock*, a bound stream socket (listening or not, say one of LISTEN_FDS), nothing is bound, no file is removed
    at the end, and *endpoint* gives backlog and TLS only; its `reuse_port` must be the socket's already. The socket is
    ours from the call on, also when the call fails. *limits* bound the TLS handshakes; None = the defaults. A protocol
    hears of its connection when that is done. Unless it *starts*, connections wait until `Listener.start`.

    All of the endpoint's addresses are bound, or none. Cancelling leaves no socket, no file and no task behind.
    While the process is out of descriptors or memory, accepting pauses, and connections wait in the backlog.

    Raises:
        OSError: Of the natural class (EADDRINUSE, PermissionError, ...), with the addresses that failed or with what
            is found at the path. `socket.gaierror` is one: no such host.
            Files of the TLS settings that cannot be read are told before anything is bound.
        UnsupportedOperation: This platform has no Unix sockets, no abstract names, or no SO_REUSEPORT.
        LocalProtocolError: The nursery is over: nothing is bound any more.
        ValueError: *sock* is no bound stream socket, or it shares its port with nobody and is to reuse it, or the TLS
            settings are not for serving.
    """
    if isinstance(endpoint, Stdio) and sock is None:
        from tieline.runtimes.trio.pipes import serve_stdio  # lazily: for those who serve on it alone

        return await serve_stdio(host, protocol_factory)
    try:
        await checkpoint()  # a numeric host needs no other
        handshakes = None if endpoint.tls is None else _handshakes(host, endpoint.tls, limits or Limits())
    except BaseException:
        if sock is not None:
            sock.close()
        raise
    sockets, claim = await bind(endpoint, sock, resolve=resolve, sleep=trio.sleep, now=trio.current_time)

    def take(accepted: socket.socket) -> None:
        protocol = host.make(protocol_factory)
        if handshakes is None:
            attach(host, protocol, accepted)
        else:
            handshakes.begin(protocol, accepted)

    endpoints = [endpoint_of(one, endpoint) for one in sockets]
    acceptors = [Acceptor(host, one, take) for one in sockets]
    listener = _Listener(host, acceptors, sockets, endpoints, claim, handshakes, trio.Event())
    if starts:
        listener.start()
    return listener


def _handshakes(host: TrioHost, tls: TLS, limits: Limits) -> Handshakes:
    from tieline.runtimes.tls.handshakes import Handshakes  # lazily: only listeners with TLS need it
    from tieline.runtimes.tls.layer import TLSLayer

    return Handshakes(tls.server_context(), limits, partial(TLSLayer.of, host=host), partial(attach, host))
