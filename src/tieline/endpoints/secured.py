# SPDX-License-Identifier: MIT
"""What `connect`, `serve` and their like make of ``tls=`` and ``ssl=``: an endpoint with TLS settings in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, Union

from tieline.endpoints.command import Command, Stdio
from tieline.endpoints.tls import TLS
from tieline.endpoints.unix import UnixStream
from tieline.endpoints.urls import Endpoint, carrier_of, connection_endpoint
from tieline.endpoints.websocket import WebSocket
from tieline.wire.values import replace

if TYPE_CHECKING:
    import ssl

__all__ = ["TLSChoice", "as_tls", "check_name_to_match", "endpoint_with_tls", "with_name"]

TLSChoice: TypeAlias = Union[TLS, "ssl.SSLContext", bool, None]  # the context's name is a text here


def as_tls(choice: TLSChoice, name: str = "tls") -> TLS | None:
    """Return the settings that *choice* means: True is `TLS()`, a context goes into one, None and False are no TLS.

    *name* is what the argument is called.

    Raises:
        TypeError: It is none of these.
    """
    if choice is None or isinstance(choice, TLS):
        return choice
    if isinstance(choice, bool):
        return TLS() if choice else None
    try:
        return TLS(context=choice)
    except TypeError as exc:
        seen = type(choice).__name__
        raise TypeError(f"{name} must be True, a TLS value, an ssl.SSLContext or None, not {seen}") from exc


def endpoint_with_tls(where: str | Endpoint, choice: TLSChoice, name: str = "tls") -> Endpoint:
    """Return the endpoint that *where* is or names, with the TLS that *choice* means.

    What a tls:// URL says by itself is no more than True, so any settings may go with it.

    Raises:
        ValueError: The URL cannot be understood, or is of datagrams, or two say different things about TLS.
        TypeError: *choice* means no TLS settings, or the endpoint is of datagrams.
    """
    endpoint = connection_endpoint(where)
    if choice is None or (choice is True and endpoint.tls is not None):
        return endpoint
    tls = as_tls(choice, name)
    if tls is None:
        if endpoint.tls is not None:
            raise ValueError(f"{name} is False, but {endpoint} is with TLS")
        return endpoint
    if isinstance(endpoint, Command | Stdio):
        raise ValueError(f"{name} is for sockets, and {endpoint} is none")
    if endpoint.tls is not None and not isinstance(where, str):
        raise ValueError(f"TLS is given twice: by {name}, and in the endpoint {endpoint}")
    if isinstance(endpoint, WebSocket):
        return replace(endpoint, under=replace(endpoint.under, tls=tls))
    return replace(endpoint, tls=tls)


def with_name(tls: TLS, server_hostname: str | None) -> TLS:
    """Return *tls* with the name that is to be matched; None leaves it as it is.

    Raises:
        ValueError: It has one already.
    """
    if server_hostname is None:
        return tls
    if tls.server_hostname is not None:
        raise ValueError("server_hostname is given twice: by itself, and in the TLS value")
    return replace(tls, server_hostname=server_hostname)


def check_name_to_match(endpoint: Endpoint) -> None:
    """Refuse to dial where nothing says which name the certificate must be made out to.

    Raises:
        ValueError: A Unix socket, and no `TLS.server_hostname`.
    """
    carrier = carrier_of(endpoint)
    if isinstance(carrier, UnixStream) and carrier.tls is not None:
        carrier.tls.name_for(None)
