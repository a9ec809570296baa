# SPDX-License-Identifier: MIT
"""Whom a command talks to, and the options that say it.

`with_peer` gives a command all of these options: it gets them as one `Peer`.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from inspect import Parameter
from typing import Annotated, Any

import typer

import tieline
from tieline.cli.exits import Exit, Failure
from tieline.cli.failures import not_connected, talk_failed
from tieline.cli.names import DialectName, Framing, Protocol, dialect_of, framer_of, protocol_of
from tieline.cli.options import CONNECTION, TLS, DialectOption, FramingOption, ProtocolOption
from tieline.cli.proxies import proxies_for

__all__ = ["Peer", "connected", "with_peer"]

# What a session logs about its peer, a failure tells in one line.
_SILENT = logging.getLogger("tieline.cli.silent")
_SILENT.disabled = True


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to talk to.

    Attributes:
        url: Its URL.
        framing: How messages are told apart.
        protocol: Which JSON-RPC it speaks.
        dialect: As which protocol it speaks, instead of these two; None = as none.
        timeout: Seconds for connecting, and for each answer; None = 10 and 30.
        tls_ca: A file or folder with the authorities to trust instead of the system's.
        tls_cert: The file of our own certificate.
        tls_key: The file of its key, if it has one of its own.
        server_hostname: Whose certificate the server's should be, if it is not that of the host in the URL.
        proxy: The URLs of proxies to go through, the nearest first; "env" alone = what the environment names.
    """

    url: str
    framing: Framing = Framing.NEWLINE
    protocol: Protocol = Protocol.V2
    dialect: DialectName | None = None
    timeout: float | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    server_hostname: str | None = None
    proxy: Sequence[str] | None = None

    def tls(self) -> tieline.TLS | None:
        """Return what the options say about TLS; None = nothing.

        Raises:
            Failure: They contradict each other.
        """
        if self.server_hostname == "":  # for the library this turns the matching of names off
            raise Failure(Exit.USAGE, "--server-hostname must not be empty: it says whose certificate is expected")
        given = (self.tls_ca, self.tls_cert, self.tls_key, self.server_hostname)
        if all(option is None for option in given):
            return None
        try:
            return tieline.TLS(
                ca=self.tls_ca, certificate=self.tls_cert, key=self.tls_key, server_hostname=self.server_hostname
            )
        except ValueError as exc:
            raise Failure(Exit.USAGE, f"TLS options: {exc}") from exc

    def session(self, factory: Callable[..., tieline.ClientSession]) -> tieline.ClientSession:
        """Return a session with this peer, not connected yet.

        Raises:
            Failure: The URL or an option cannot be; a file for TLS cannot be read.
        """
        try:
            session = tieline.connect(
                self.url,
                framer=framer_of(self.framing),
                rpc_protocol=protocol_of(self.protocol),
                dialect=dialect_of(self.dialect, self.framing, self.protocol),
                tls=self.tls(),
                connect_timeout=tieline.DEFAULT if self.timeout is None else self.timeout,
                proxy=proxies_for(self.proxy or (), self.url),
                session_factory=factory,
            )
            if session.endpoint is not None and session.endpoint.tls is not None:
                session.endpoint.tls.client_context()
        except OSError as exc:
            raise Failure(Exit.USAGE, f"cannot read a file for TLS: {exc.strerror}: {exc.filename!r}") from exc
        except (ValueError, TypeError) as exc:
            raise Failure(Exit.USAGE, str(exc)) from exc
        return session

    def where(self) -> str:
        """Return the peer's URL as it is read, for texts; only behind a `session` is it known to hold no secrets."""
        return str(tieline.parse(self.url))


@asynccontextmanager
async def connected(
    peer: Peer, factory: Callable[..., tieline.ClientSession] = tieline.ClientSession
) -> AsyncGenerator[tieline.ClientSession]:
    """Connect to *peer*; what goes wrong there or in the body becomes a `Failure`."""
    session = peer.session(factory)
    session.log = _SILENT
    where = peer.where()
    try:
        await session.create_connection()
    except (OSError, tieline.TielineError) as exc:
        raise not_connected(exc, where, is_proxied=session.proxy() is not None) from exc
    try:
        yield session
    except (OSError, tieline.TielineError) as exc:
        raise talk_failed(exc, where) from exc
    finally:
        grace = session.endpoint.grace if isinstance(session.endpoint, tieline.Command) else 0.0
        await session.aclose(5.0 + 2 * grace)


def _option(kind: Any, default: object, help_text: str, panel: str = TLS, **more: Any) -> tuple[Any, object]:
    return Annotated[kind, typer.Option(help=help_text, rich_help_panel=panel, **more)], default


_OPTIONS: dict[str, tuple[Any, object]] = {
    "framing": (FramingOption, Framing.NEWLINE),
    "protocol": (ProtocolOption, Protocol.V2),
    "dialect": (DialectOption, None),
    "timeout": _option(
        float | None,
        None,
        "Seconds for connecting, and for each reply (by default 10 and 30).",
        CONNECTION,
        min=0.0,
        metavar="SECONDS",
    ),
    "proxy": _option(
        list[str] | None,
        None,
        "Use this proxy: socks5://, socks4a://, socks4://, http://HOST:PORT, with USER:PASSWORD@ before the "
        "host if needed; repeat for a chain, the nearest first; env: the one in ALL_PROXY.",
        CONNECTION,
        metavar="URL",
        show_default=False,
    ),
    "tls_ca": _option(
        str | None, None, "Trust the authorities in this file or directory, in place of the system's.", metavar="PATH"
    ),
    "tls_cert": _option(str | None, None, "Present this certificate, if the server asks for one.", metavar="FILE"),
    "tls_key": _option(str | None, None, "Its private key, if it is in a separate file.", metavar="FILE"),
    "server_hostname": _option(
        str | None,
        None,
        "The name that the server's certificate must contain, if not the host.",
        metavar="NAME",
    ),
}
_URL = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="tcp://, tls://, ws://HOST:PORT, unix:///PATH, unix:@NAME or 'cmd:PROGRAM ARGUMENTS'.",
        show_default=False,
    ),
]


def with_peer(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command* the argument URL and the options of a connection, in place of its first parameter, ``peer``."""
    signature = inspect.signature(command, eval_str=True)
    first, *own = signature.parameters.values()
    if first.name != "peer":
        raise TypeError("the first parameter of a command that talks is its peer")
    keyword = Parameter.KEYWORD_ONLY
    added = [Parameter(name, keyword, annotation=kind, default=default) for name, (kind, default) in _OPTIONS.items()]
    url = Parameter("url", keyword, annotation=_URL)
    taken = [url, *(each.replace(kind=keyword) for each in own), *added]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        peer = Peer(given.pop("url"), **{name: given.pop(name) for name in _OPTIONS})
        command(peer, **given)

    # typer reads the one or the other, by its version.
    run.__dict__.pop("__wrapped__")
    run.__dict__["__signature__"] = signature.replace(parameters=taken)
    run.__annotations__ = {each.name: each.annotation for each in taken}
    return run
