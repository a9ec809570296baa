# SPDX-License-Identifier: MIT
"""Serving in one process: from a plan to servers that listen, until they are told to end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import tieline
from tieline.cli.exits import Exit, Failure
from tieline.cli.failures import not_listening
from tieline.cli.loops import Loop
from tieline.cli.names import DialectName, Framing, Protocol, dialect_of, framer_of, protocol_of
from tieline.cli.target import load

__all__ = [
    "STOPPING",
    "Ending",
    "Plan",
    "Service",
    "carrier_of",
    "set_up_logging",
    "started",
    "with_carrier",
]

STOPPING: Final = "stopping: requests that were accepted are answered, for {:g} s at most; again to cut them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be served, where, and how; plain values, so that a parent can tell its workers.

    Attributes:
        target: What is served, as `tieline.cli.target.load` takes it.
        is_factory: Whether it is to be called first.
        listen: The URLs.
        reuse_port: Whether TCP ports are shared with other processes.
        descriptors: For URLs at these places in *listen*: the descriptor of an inherited socket that listens there.
        framing, protocol: How is spoken.
        dialect: As which protocol, instead of these two; None = as none.
        tls_cert, tls_key: Files of the certificate for tls:// URLs.
        tls_client_ca: A file of the authorities that sign clients' certificates; None = clients need none.
        is_public: Whether strangers reach it.
        discover: Whether ``rpc.discover`` is answered.
        stats: Whether ``rpc.statistics`` is.
        grace: Seconds that running handlers get at the end.
        loop: asyncio, uvloop, or auto: uvloop if it is installed.
        log_level: What is logged, to standard error.
    """

    target: str
    is_factory: bool = False
    listen: tuple[str, ...] = ()
    reuse_port: bool = False
    descriptors: dict[int, int] = field(default_factory=dict[int, int])
    framing: str = Framing.NEWLINE
    protocol: str = Protocol.V2
    dialect: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None
    is_public: bool = False
    discover: bool = True
    stats: bool = False
    grace: float = 10.0
    loop: str = Loop.AUTO
    log_level: str = "warning"

    def endpoints(self) -> list[tieline.Endpoint]:
        """Return where to listen, with TLS settings in it where the URL says tls.

        Raises:
            Failure: A URL or a TLS option cannot be, or one goes without the other.
        """
        try:
            found = [_of_streams(tieline.parse(url)) for url in self.listen]
        except ValueError as exc:
            raise Failure(Exit.USAGE, f"--listen: {exc}") from exc
        with_tls = [endpoint for endpoint in found if endpoint.tls is not None]
        if with_tls and self.tls_cert is None:
            raise Failure(Exit.USAGE, f"{with_tls[0]} needs a certificate: --tls-cert FILE (and --tls-key FILE)")
        options = {"--tls-cert": self.tls_cert, "--tls-key": self.tls_key, "--tls-client-ca": self.tls_client_ca}
        given = [name for name, value in options.items() if value is not None]
        if given and not with_tls:
            raise Failure(Exit.USAGE, f"{given[0]} is for tls:// URLs, and none is listened on")
        if not with_tls:
            return found
        tls = tieline.TLS(certificate=self.tls_cert, key=self.tls_key, ca=self.tls_client_ca)
        try:
            tls.server_context()
        except OSError as exc:
            raise Failure(Exit.USAGE, f"cannot read a file for TLS: {exc.strerror}: {exc.filename!r}") from exc
        except ValueError as exc:
            raise Failure(Exit.USAGE, f"TLS: {exc}") from exc
        return [_with_tls(endpoint, tls) for endpoint in found]


def _with_tls(endpoint: tieline.Endpoint, tls: tieline.TLS) -> tieline.Endpoint:
    """Return *endpoint* with *tls*, where its URL says so."""
    carrier = carrier_of(endpoint)
    if carrier.tls is None or isinstance(carrier, tieline.Command | tieline.Stdio):
        return endpoint
    return with_carrier(endpoint, replace(carrier, tls=tls))


def _of_streams(endpoint: tieline.Endpoint | tieline.DatagramEndpoint) -> tieline.Endpoint:
    if not isinstance(endpoint, tieline.Endpoint):
        raise ValueError(f"calls go over streams, and {endpoint} is a socket of datagrams")  # a URL
    return endpoint


class Service:
    """What a plan serves, loaded."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.served = load(plan.target, is_factory=plan.is_factory)
        self.methods = self.served if isinstance(self.served, tieline.Methods) else None
        if self.methods is not None:
            if not plan.discover:
                self.methods.withdraw_discovery()
            elif "rpc.discover" not in self.methods:
                self.methods.offer_discovery(title=os.path.basename(plan.target))  # where it lies is ours to know
            if plan.stats and self.methods.statistics is None:
                self.methods.offer_statistics()
        elif plan.stats:
            raise Failure(Exit.USAGE, f"--stats is for methods, and {plan.target} is a class of sessions")
        self._hooks = None if self.methods is None else self.methods.statistics
        self._settings: dict[str, Any] = {
            "framer": framer_of(Framing(plan.framing)),
            "rpc_protocol": protocol_of(Protocol(plan.protocol)),
            "dialect": dialect_of(
                None if plan.dialect is None else DialectName(plan.dialect),
                Framing(plan.framing),
                Protocol(plan.protocol),
            ),
            "limits": tieline.Limits.public() if plan.is_public else None,
        }
        self._settings = {name: value for name, value in self._settings.items() if value is not None}

    def names(self) -> list[str] | None:
        """Return the names of the methods that are served; None when a session class decides."""
        if self.methods is None:
            return None
        return [name for name in self.methods if not name.startswith("rpc.")]

    def servers(self) -> list[tieline.Server]:
        """Return a server for each URL of the plan, not listening yet.

        Raises:
            Failure: One cannot be.
        """
        try:
            return [self._server(place, endpoint) for place, endpoint in enumerate(self.plan.endpoints())]
        except (ValueError, TypeError) as exc:
            raise Failure(Exit.USAGE, f"{self.plan.target} cannot be served so: {exc}") from exc

    def _server(self, place: int, endpoint: tieline.Endpoint) -> tieline.Server:
        carrier = carrier_of(endpoint)
        if self.plan.reuse_port and isinstance(carrier, tieline.TCP):
            endpoint = with_carrier(endpoint, replace(carrier, reuse_port=True))
        server = tieline.serve(self.served, endpoint, **self._settings)  # for the checks also where another is used
        descriptor = self.plan.descriptors.get(place)
        if descriptor is None:
            return server
        sock = socket.socket(fileno=descriptor)
        return tieline.Server(self._factory(), sock=sock, limits=self._settings.get("limits"), hooks=self._hooks)

    def _factory(self) -> Callable[[], Any]:
        """Return what makes a session for each connection."""
        served, settings = self.served, self._settings
        if isinstance(served, tieline.Methods):
            return lambda: tieline.ServerSession(methods=served, **settings)
        return lambda: served(**settings)


async def started(stack: AsyncExitStack, service: Service) -> list[tieline.Server]:
    """Return the servers of *service*, listening; *stack* shuts them down.

    Raises:
        Failure: One cannot listen.
    """
    servers = service.servers()
    for server in servers:
        try:
            await server.listen()
        except (OSError, ValueError, tieline.TielineError) as exc:
            raise not_listening(exc, str(server.endpoint)) from exc
        stack.push_async_callback(server.shutdown, 0)
    return servers


class Ending:
    """The end of servers: in order when they are told for the first time, at once the second time.

    Args:
        servers: They listen.
        grace: Seconds that running handlers get.
        tell: Called with a line for the user when it begins.
    """

    def __init__(
        self, servers: list[tieline.Server], grace: float, tell: Callable[[str], object] | None = None
    ) -> None:
        self._servers = servers
        self._grace = grace
        self._tell = tell
        self._tasks: list[asyncio.Task[None]] = []
        self.was_cut = False

    def begin(self) -> None:
        """Shut down; called again, cut what is left."""
        if not self._tasks:
            for server in self._servers:
                server.close()
            if self._tell is not None:
                self._tell(STOPPING.format(self._grace))
            self._shut_down(self._grace)
        elif not self.was_cut:
            self.was_cut = True
            self._shut_down(0)

    def _shut_down(self, grace: float) -> None:
        loop = asyncio.get_running_loop()
        self._tasks += [loop.create_task(server.shutdown(grace)) for server in self._servers]

    async def wait(self) -> None:
        """Wait until all servers have ended, by this or by themselves."""
        await asyncio.gather(*(server.serve_forever(handle_signals=False) for server in self._servers))
        await asyncio.gather(*self._tasks)

    def at_signals(self, *numbers: signal.Signals) -> None:
        """Begin at each of these signals; where the loop cannot watch them (Windows), Ctrl+C ends the program."""
        loop = asyncio.get_running_loop()
        for number in numbers:
            try:
                loop.add_signal_handler(number, self.begin)
            except NotImplementedError:
                return


def set_up_logging(level: str) -> None:
    """Log to standard error what is at least of *level*."""
    text = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level.upper(), stream=sys.stderr, format=text)


Carrier: TypeAlias = tieline.TCP | tieline.UnixStream | tieline.Command | tieline.Stdio


def carrier_of(endpoint: tieline.Endpoint) -> Carrier:
    """Return what carries *endpoint*."""
    return endpoint.under if isinstance(endpoint, tieline.WebSocket) else endpoint


def with_carrier(endpoint: tieline.Endpoint, carrier: tieline.TCP | tieline.UnixStream) -> tieline.Endpoint:
    """Return *endpoint*, carried by *carrier*."""
    return replace(endpoint, under=carrier) if isinstance(endpoint, tieline.WebSocket) else carrier
