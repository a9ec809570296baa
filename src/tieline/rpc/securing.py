# SPDX-License-Identifier: MIT
"""Starting TLS on a session that speaks in plain text: the side that asks for it, and the side that agrees.

What has been said before was said in the open, by whomever. So nothing may be under way when TLS starts, and nothing
may have come behind the request or the answer that agrees on it: whoever stands between the two could have put it
there, to have it taken for part of the conversation that is safe (RFC 3207, section 4.2, knows that attack on mail).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tieline.endpoints.secured import as_tls, with_name
from tieline.errors import LocalProtocolError, RemoteProtocolError, RPCError
from tieline.wire.addresses import named

if TYPE_CHECKING:
    from tieline.endpoints.secured import TLSChoice
    from tieline.endpoints.tls import TLS
    from tieline.runtimes.backend import Backend
    from tieline.runtimes.host import Host
    from tieline.runtimes.link import Link
    from tieline.runtimes.tls.records import Context

__all__ = ["INJECTED", "ReplyAndStartTLS", "agree_to_tls", "ask_for_tls", "check_open", "client_settings", "obstacle"]

INJECTED: Final = "data came in plain text behind what agreed on TLS"


class ReplyAndStartTLS(Exception):  # it is an order, not an error; the name is the ancestor's
    """Raised by a handler: reply with *result*, then switch the same connection to TLS, as the TLS server.

    The reply is sent in plain text; later messages wait for the handshake. The other side calls `SessionBase.start_tls`
    when it has the reply. If anything else is in progress, the request is answered with SERVER_BUSY, and nothing
    changes. Plain text that arrives after the request ends the connection, because somebody in between may have sent
    it. So does a handshake that fails, or takes longer than `Limits.handshake_timeout`.

    Args:
        result: The reply, a value.
        tls: A `TLS` value with a certificate, or an ``ssl.SSLContext``. Files are read each time, so with many
            connections pass a ready-made context: ``TLS(context=...)``.

    Raises:
        TypeError: *result* is an error, which agrees to nothing, or *tls* has the wrong type.
        ValueError: *tls* has no settings.
    """

    def __init__(self, result: object, tls: TLSChoice) -> None:
        super().__init__()  # without the result: what is printed or logged of it must not show what it holds
        if isinstance(result, RPCError):
            raise TypeError("an error does not start TLS: raise it by itself")
        settings = as_tls(tls)
        if settings is None:
            raise ValueError(f"ReplyAndStartTLS takes a TLS value or an ssl.SSLContext, not {tls!r}")
        self.result = result
        self.tls = settings

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.result, self.tls), self.__dict__


def obstacle(link: Link, *, running: int) -> str:
    """Return why TLS cannot start with so many requests of the peer running; empty when it can."""
    machine = link.machine
    if machine.open_calls or machine.unanswered > running:
        seen = f"{machine.open_calls} calls in flight, {machine.unanswered - running} running"
        return f"TLS starts when nothing is under way, and there are {seen}"
    return ""


def client_settings(choice: TLSChoice, server_hostname: str | None) -> TLS:
    """Return what the arguments of `start_tls` mean together.

    Raises:
        ValueError: There are no settings, or the name is given twice.
        TypeError: *choice* means no TLS settings.
    """
    tls = as_tls(choice)
    if tls is None:
        raise ValueError(f"start_tls takes True, a TLS value or an ssl.SSLContext, not {choice!r}")
    return with_name(tls, server_hostname)


async def ask_for_tls(link: Link, host: Host, backend: Backend, tls: TLS, *, dialled: str | None, peer: str) -> None:
    """Start TLS as its client, and wait for the handshake; see `SessionBase.start_tls`.

    *dialled* is the host whose name is matched unless *tls* has another; *peer* names the connection in errors.
    """
    limits = link.machine.limits
    check_open(link)
    problem = obstacle(link, running=0)
    if problem:
        raise LocalProtocolError(problem)
    context, name = tls.client_context(), tls.name_for(dialled)
    if link.has_unread or link.machine.has_read_behind_answer:
        link.violated(INJECTED)
        raise RemoteProtocolError(INJECTED)
    waiter = host.new_waiter()

    def settle(error: BaseException | None) -> None:
        if waiter.done():
            return
        if error is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(named(error, f"cannot start TLS with {peer}") if isinstance(error, OSError) else error)

    backend.start_tls(
        link,
        context,
        server_side=False,
        server_hostname=name,
        handshake_timeout=limits.handshake_timeout,
        shutdown_timeout=limits.tls_shutdown_timeout,
        on_handshake=settle,
    )
    try:
        await waiter
    except BaseException:
        link.abort()  # there is no way back to plain text
        raise


def agree_to_tls(link: Link, backend: Backend, context: Context) -> None:
    """Start TLS as its server. The answer that agrees to it is queued, and leaves before."""
    limits = link.machine.limits
    backend.start_tls(
        link,
        context,
        server_side=True,
        server_hostname=None,
        handshake_timeout=limits.handshake_timeout,
        shutdown_timeout=limits.tls_shutdown_timeout,
        on_handshake=lambda _error: None,  # the link hears of it when it fails
    )


def check_open(link: Link) -> None:
    """Refuse to start TLS on a connection that is closed, or that speaks it, or that carries messages alone."""
    machine = link.machine
    machine.check_open()
    if link.transport.get_extra_info("ssl_object") is not None:
        raise LocalProtocolError("TLS is spoken already")
    if link.transport.get_extra_info("websocket") is not None:
        raise LocalProtocolError("TLS cannot start within a WebSocket: it is wss:// from the beginning, or never")
