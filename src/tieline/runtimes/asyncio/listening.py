# SPDX-License-Identifier: MIT
"""Listening on asyncio: from an endpoint to a `Listener` whose connections go to a protocol factory.

The sockets are made here and accepted from by `accepting.py`, so that stock asyncio and uvloop behave alike: same
options, same rules for socket files, same meaning of closing.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

from tieline.endpoints.command import Stdio
from tieline.runtimes.asyncio.accepting import Acceptor, attach
from tieline.runtimes.asyncio.base_classes import made
from tieline.runtimes.asyncio.host import current_host
from tieline.runtimes.asyncio.sockets import resolve
from tieline.runtimes.listening import Listener, accepted_name, bind, endpoint_of
from tieline.wire.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.endpoints.tls import TLS
    from tieline.endpoints.urls import StreamEndpoint
    from tieline.runtimes.stdio import StdioListener
    from tieline.runtimes.tls.handshakes import Handshakes

__all__ = ["listen"]


class _Listener(Listener):
    __slots__ = ()

    async def wait_closed(self) -> None:
        await super().wait_closed()
        await asyncio.sleep(0)  # uvloop frees its handles one turn later


async def listen(
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    endpoint: StreamEndpoint,
    *,
    sock: socket.socket | None = None,
    limits: Limits | None = None,
    starts: bool = True,
) -> Listener | StdioListener:
    """Listen on *endpoint*; each connection accepted gets a protocol of *protocol_factory*.

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
        ValueError: *sock* is no bound stream socket, or it shares its port with nobody and is to reuse it, or the TLS
            settings are not for serving.
    """
    if isinstance(endpoint, Stdio) and sock is None:
        from tieline.runtimes.asyncio.pipes import serve_stdio  # lazily: for those who serve on it alone

        return serve_stdio(protocol_factory)
    try:
        handshakes = None if endpoint.tls is None else _handshakes(endpoint.tls, limits or Limits())
    except BaseException:
        if sock is not None:
            sock.close()
        raise
    sockets, claim = await bind(
        endpoint, sock, resolve=resolve, sleep=asyncio.sleep, now=asyncio.get_running_loop().time
    )

    def take(sockname: Any, accepted: socket.socket, peername: Any) -> None:
        if handshakes is None:
            attach(made(protocol_factory), accepted, peername, sockname)
        else:
            handshakes.begin(made(protocol_factory), accepted)

    endpoints = [endpoint_of(one, endpoint) for one in sockets]
    is_ours = sock is None
    acceptors = [Acceptor(one, partial(take, accepted_name(one) if is_ours else None)) for one in sockets]
    listener = _Listener(acceptors, sockets, endpoints, claim, handshakes, asyncio.Event())
    if starts:
        listener.start()
    return listener


def _handshakes(tls: TLS, limits: Limits) -> Handshakes:
    from tieline.runtimes.asyncio.tls_layers import layer_class  # lazily: only listeners with TLS need it
    from tieline.runtimes.tls.handshakes import Handshakes

    return Handshakes(tls.server_context(), limits, partial(layer_class().of, host=current_host()), attach)
