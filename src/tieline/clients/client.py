# SPDX-License-Identifier: MIT
"""What all blocking clients share: what they tell, and how they are lost. The twin of `async_client.py`."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

from tieline.clients.abc import AbstractNetworkClient, ReceivedT_co, SentT_contra
from tieline.clients.facts import view_of
from tieline.errors import ClientClosedError
from tieline.finite import time_after

if TYPE_CHECKING:
    from tieline.runtimes.socket_proxy import SocketProxy

__all__ = ["Client", "until"]


class Client(AbstractNetworkClient[SentT_contra, ReceivedT_co]):
    """A packet client in blocking code; see its subclasses."""

    __slots__ = ("_endpoint", "_engine", "_is_closed", "_view")

    _engine: Any  # what moves it; None while it is made
    _is_closed: bool

    def __init__(self, endpoint: object) -> None:
        self._engine = None
        self._endpoint = endpoint
        self._view: SocketProxy | None = None
        self._is_closed = True  # until it is connected

    # --- facts ---------------------------------------------------------------------------------------------------

    def is_closed(self) -> bool:
        return self._is_closed

    def fileno(self) -> int:
        return -1 if self._is_closed or self._get_extra_info("socket") is None else self.socket.fileno()

    @property
    def socket(self) -> SocketProxy:
        """A view of the socket; the same each time, also when the client is closed.

        Raises:
            AttributeError: There is none: the peer is a child process.
        """
        if self._view is None:
            self._view = view_of(self._get_extra_info("socket"))
        return self._view

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the connection: ``peername``, ``sockname``, ``socket``, ``ssl_object``, ...

        Through a proxy also ``proxy_target``: host and port of the server, as the proxy was asked for them.

        Raises:
            ClientClosedError: The client is closed.
        """
        self._open()
        return self._get_extra_info(name, default)

    @abstractmethod
    def _get_extra_info(self, name: str, default: Any = None) -> Any: ...

    @abstractmethod
    def _is_lost(self) -> bool:
        """Return whether the connection went down by itself."""

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "lost" if self._is_lost() else "connected"
        return f"<{type(self).__name__} {self._endpoint} {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled: it is one end of a connection")

    def _open(self) -> Any:
        """Return the engine.

        Raises:
            ClientClosedError: The client is closed.
        """
        if self._is_closed:
            raise ClientClosedError("the client is closed")
        return self._engine

    # --- the end -------------------------------------------------------------------------------------------------

    @abstractmethod
    def abort(self) -> None:
        """Close at once."""

    def __del__(self) -> None:
        if getattr(self, "_engine", None) is not None and not self._is_closed:
            try:
                warnings.warn(f"unclosed client {self!r}", ResourceWarning, stacklevel=2, source=self)
            finally:  # the warning may be an error
                self.abort()


def until(timeout: float | None) -> float:
    """Return the end of *timeout* seconds that begin now.

    Raises:
        ValueError: It is negative, or NaN.
        TypeError: It is of another kind.
    """
    if timeout is None:
        return inf
    try:
        if timeout >= 0:
            return monotonic() + timeout
    except (ArithmeticError, TypeError, ValueError):
        pass
    return time_after(monotonic(), "timeout", timeout)  # which says what is wrong with it
