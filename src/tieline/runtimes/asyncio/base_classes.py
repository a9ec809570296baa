# SPDX-License-Identifier: MIT
"""Where base classes matter on asyncio: its loops ask for theirs, and users of `tieline.transports` for ours.

A stock loop drives a protocol through buffers only if it is an instance of ``asyncio.BufferedProtocol``; uvloop looks
at the methods. And no transport of a loop is by itself an instance of `tieline.transports.Transport`.
"""

from __future__ import annotations

import asyncio
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from tieline.runtimes import contract

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fitted", "know_transports", "made"]

_OURS: Final = (
    (contract.BaseTransport, asyncio.BaseTransport),
    (contract.ReadTransport, asyncio.ReadTransport),
    (contract.WriteTransport, asyncio.WriteTransport),
    (contract.Transport, asyncio.Transport),
    (contract.DatagramTransport, asyncio.DatagramTransport),
    (contract.SubprocessTransport, asyncio.SubprocessTransport),
)
# The transports of uvloop have none of asyncio's base classes.
_UVLOOPS: Final = (
    (contract.Transport, ("TCPTransport", "UnixTransport", "_SSLProtocolTransport")),
    (contract.ReadTransport, ("ReadUnixTransport",)),
    (contract.WriteTransport, ("WriteUnixTransport",)),
    (contract.DatagramTransport, ("UDPTransport",)),
    (contract.SubprocessTransport, ("UVProcessTransport",)),
)

_known_loops: set[type] = set()


def _meet_asyncio() -> None:
    """Make our base class of buffered protocols a subclass of asyncio's, and asyncio's transports count as ours.

    A base of the class itself, not of instances: so it holds too where a protocol is given to a transport of a loop
    by `set_protocol`, with nothing of ours in between. Without asyncio the class stays as it is.
    """
    contract.BufferedProtocol.__bases__ = (contract.BaseProtocol, asyncio.BufferedProtocol)
    for ours, theirs in _OURS:
        ours.register(theirs)


_meet_asyncio()


def know_transports() -> None:
    """Have the transports of the running loop count as instances of our base classes."""
    kind = type(asyncio.get_running_loop())
    if kind in _known_loops:
        return
    _known_loops.add(kind)
    module = sys.modules.get("uvloop.loop")
    if module is not None:
        for ours, names in _UVLOOPS:
            for name in names:
                theirs: type | None = getattr(module, name, None)
                if theirs is not None:
                    ours.register(theirs)


def fitted(protocol: Any) -> Any:
    """Return *protocol*, as a buffered one that stock loops know if it has the methods of one and no base class.

    Raises:
        TypeError: Its class cannot be changed.
    """
    if isinstance(protocol, (asyncio.Protocol, asyncio.BufferedProtocol)) or not contract.is_buffered(protocol):
        return protocol
    kind: Any = protocol.__class__
    try:
        protocol.__class__ = _buffered(kind)
    except TypeError as exc:
        raise TypeError(
            f"{kind.__name__} has get_buffer(): on asyncio it must derive from a class BufferedProtocol"
        ) from exc
    return protocol


def made(protocol_factory: Callable[[], Any]) -> Any:
    """Return what *protocol_factory* makes, fitted; the loop's transports are known from then on."""
    protocol = protocol_factory()
    if isinstance(protocol, contract.OurProtocol):
        return protocol  # whose host has seen to the transports
    know_transports()
    return fitted(protocol)


@lru_cache(maxsize=256)
def _buffered(kind: type) -> type:
    """Return *kind* with asyncio's base class besides, by the same name."""
    told: dict[str, Any] = {"__slots__": (), "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind)(kind.__name__, (kind, asyncio.BufferedProtocol), told)
