# SPDX-License-Identifier: MIT
"""What all asynchronous clients share: how they come to be connected, and what they tell."""

from __future__ import annotations

import errno
import warnings
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from tieline.clients.abc import AbstractAsyncNetworkClient, ReceivedT_co, SentT_contra
from tieline.clients.attempt import Attempt
from tieline.clients.facts import view_of
from tieline.errors import ClientClosedError
from tieline.runtimes.detect import backend_named, current_backend

if TYPE_CHECKING:
    import socket as sockets  # since `socket` is an attribute here

    from tieline.runtimes.backend import AsyncBackend, Scope
    from tieline.runtimes.socket_proxy import SocketProxy

__all__ = ["AsyncClient", "checked_backend"]


def checked_backend(backend: object) -> AsyncBackend | None:
    """Return the runtime that *backend* is or names; None = whichever is running.

    Raises:
        NotImplementedError: There is none of that name.
        TypeError: It is neither a name nor a runtime.
    """
    if backend is None:
        return None
    if isinstance(backend, str):
        return backend_named(backend)
    if not callable(getattr(backend, "dial", None)):
        raise TypeError(f"backend must be 'asyncio', 'trio', an AsyncBackend or None, not {type(backend).__name__}")
    return cast("AsyncBackend", backend)


class AsyncClient(AbstractAsyncNetworkClient[SentT_contra, ReceivedT_co]):
    """A packet client on asyncio or trio; see its subclasses.

    Args:
        endpoint: Where to connect to; with a given socket, what errors and `repr` call it.
        sock: A connected socket to use instead; owned.
        backend: The runtime; None = whichever is running.
    """

    __slots__ = (
        "_attempt",
        "_backend",
        "_endpoint",
        "_engine",
        "_is_closed",
        "_is_given",
        "_scope",
        "_sock",
        "_view",
        "_was_cancelled",
    )

    def __init__(self, endpoint: Any, sock: sockets.socket | None, backend: AsyncBackend | None) -> None:
        self._engine: Any = None  # what moves it, once it is connected
        self._sock = sock
        self._is_given = sock is not None  # then there is no other, and the endpoint is but a name
        self._endpoint = endpoint
        self._backend = backend
        self._attempt: Attempt | None = None
        self._scope: Scope | None = None  # of the `async with`, where the runtime has such
        self._view: SocketProxy | None = None
        self._is_closed = False
        self._was_cancelled = False  # the given socket went with an attempt that was cancelled

    # --- connecting ----------------------------------------------------------------------------------------------

    def backend(self) -> AsyncBackend:
        """Return the runtime of the client: the one that it was given, or else the running one.

        Raises:
            RuntimeError: None was given, and none is running.
        """
        if self._backend is None:
            self._backend = current_backend()
        return self._backend

    async def wait_connected(self) -> None:
        """Connect, unless that was done. Tasks that call this at the same time share one attempt.

        If cancelled while nobody else waits, it gives up the attempt, and may be called again. That closes a given
        socket, and the client with it: there is no other.

        Raises:
            OSError: The peer cannot be reached. You may try again.
            ClientClosedError: The client is closed, or was closed meanwhile.
        """
        if self._is_closed:
            raise self._closed_error()
        await self._connected()

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            OSError, ClientClosedError: As of `wait_connected`.
        """
        await self._enter()
        return self

    async def _enter(self) -> None:
        """Connect; when that fails or is cancelled there is no connection, unless somebody else has waited for it."""
        try:
            await self.wait_connected()
        except BaseException:
            self._drop_unshared()
            raise

    def _drop_unshared(self) -> None:
        """Give up a connection that came in the very turn in which who waited for it was cancelled."""
        attempt, engine = self._attempt, self._engine
        if engine is None or attempt is None or attempt.is_awaited:
            return
        self._attempt = self._engine = None
        self._was_cancelled = self._is_given  # the socket is gone, and there is no other
        self._is_closed |= self._is_given
        self._forsake(engine)

    async def _connected(self) -> Any:
        """Return the engine, once there is one."""
        while self._engine is None:
            if self._is_closed:
                raise self._closed_error()
            try:
                await self._share_attempt()
            except Exception:
                raise
            except BaseException:  # cancelled
                if self._is_given and (self._wants_attempt() or self._was_given_up()):
                    self._was_cancelled = True
                    self._close_before()
                raise
        self._attempt = None  # it has done its work
        return self._engine

    async def _share_attempt(self) -> None:
        """Wait for the attempt to connect, a new one if there is none."""
        if self._wants_attempt():
            backend = self.backend()
            nursery = await backend.stray_nursery() if self._scope is None else self._scope.nursery
            if self._wants_attempt():  # still
                self._attempt = self._new_attempt(backend, nursery)
        if self._attempt is not None and self._engine is None:
            await self._attempt.wait()

    def _wants_attempt(self) -> bool:
        attempt = self._attempt
        if self._is_closed or self._engine is not None:
            return False
        return attempt is None or attempt.is_over or attempt.is_given_up

    def _was_given_up(self) -> bool:
        return self._engine is None and self._attempt is not None and self._attempt.is_given_up

    def _closed_error(self) -> ClientClosedError:
        """Return what is raised at who uses a client that is closed."""
        why = ": its given socket went with the attempt to connect, which was cancelled" if self._was_cancelled else ""
        return ClientClosedError(f"the client is closed{why}")

    def _new_attempt(self, backend: AsyncBackend, nursery: object) -> Attempt:
        return Attempt(backend.host(nursery), lambda: self._dial(backend, nursery))

    @abstractmethod
    async def _dial(self, backend: AsyncBackend, nursery: object) -> None:
        """Connect, and set the engine."""

    def _take_socket(self) -> sockets.socket | None:
        """Return the given socket, which is the caller's from now on; None = the endpoint is to be dialled.

        Raises:
            ClientClosedError: It is gone.
        """
        sock, self._sock = self._sock, None
        if sock is None and self._is_given:
            self._is_closed = True
            raise ClientClosedError("the client is closed: its given socket is gone")
        return sock

    # --- facts ---------------------------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._is_closed

    @property
    def socket(self) -> SocketProxy:
        """A view of the socket; the same each time, and once there is one also when the client is closed.

        Raises:
            AttributeError: The client is not connected yet; or there is none, since the peer is a child process.
        """
        if self._view is None:
            if self._engine is None:
                raise AttributeError("the client is not connected, so there is no socket yet")
            self._view = view_of(self._get_extra_info("socket"))
        return self._view

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the connection: ``peername``, ``sockname``, ``socket``, ``ssl_object``, ...

        Through a proxy also ``proxy_target``: host and port of the server, as the proxy was asked for them.

        Raises:
            ClientClosedError: The client is closed.
            OSError: It is not connected (ENOTCONN).
        """
        if self._is_closed:
            raise self._closed_error()
        if self._engine is None:
            raise OSError(errno.ENOTCONN, "the client is not connected")
        return self._get_extra_info(name, default)

    @abstractmethod
    def _get_extra_info(self, name: str, default: Any = None) -> Any: ...

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.described()}>"

    def described(self) -> str:
        """Return who is at the other end, and how it stands, for people."""
        return f"{self._endpoint} {self._state()}"

    def _state(self) -> str:
        state = "closed" if self._is_closed else "connected" if self.is_connected() else "not connected"
        if self._engine is not None and not self._is_closed and not self.is_connected():
            state = "lost"
        return state

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled: it is one end of a connection")

    # --- the end -------------------------------------------------------------------------------------------------

    def __del__(self) -> None:
        # Its constructor may have failed before there was anything.
        engine, sock = getattr(self, "_engine", None), getattr(self, "_sock", None)
        if sock is None and (engine is None or self._is_closed):
            return
        try:
            warnings.warn(f"unclosed client {self!r}", ResourceWarning, stacklevel=2, source=self)
        finally:  # the warning may be an error
            self._is_closed, self._sock = True, None
            if sock is not None:
                sock.close()
            if engine is not None:
                self._forsake(engine)

    @abstractmethod
    def _forsake(self, engine: Any) -> None:
        """Close what nobody has closed; in any thread, and perhaps when the loop is over."""

    def _close_before(self) -> None:
        """Close as far as it is not connected yet."""
        self._is_closed = True
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()
        if self._engine is None and self._attempt is not None:
            self._attempt.cancel()
