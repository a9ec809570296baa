# SPDX-License-Identifier: MIT
"""What a session tells about itself and its peer. Asking changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar, cast

from tieline.errors import LocalProtocolError
from tieline.rpc.engine import Engine
from tieline.rpc.outcomes import FailureLog

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from tieline.rpc.session_stats import SessionStats

__all__ = ["EngineT", "SessionFacts"]


EngineT = TypeVar("EngineT", bound=Engine[Any, Any, Any])


class _Nowhere:
    """A logger for as long as `logging` cannot be loaded: a record is given up, so that no call is lost for it."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return self._give_up

    def _give_up(self, *args: object, **kwargs: object) -> None:
        pass


_NOWHERE: Final = _Nowhere()


class SessionFacts(Generic[EngineT]):
    """Information about a session and its peer. Reading it changes nothing."""

    logger: ClassVar[logging.Logger | None] = None
    """The logger of a class of sessions; None = one named after the class."""

    __slots__ = ("__dict__", "__weakref__", "_engine", "_failure_log", "_server")

    # Most sessions never need it: it is the class's, until one does.
    _log: logging.Logger | None = None

    def __init__(self) -> None:
        self._engine: EngineT | None = None
        self._failure_log: FailureLog | None = None
        self._server: Any = None  # for sessions that a server made

    @property
    def log(self) -> logging.Logger:
        """The logger for failures of handlers and violations of the protocol by the peer."""
        if self._log is None:
            try:
                import logging  # lazily: a tenth of what a blocking client loads, and most never log anything
            except (ImportError, OSError):  # no descriptor is left to load it with
                return cast("logging.Logger", _NOWHERE)
            self._log = self.logger or logging.getLogger(f"tieline.{type(self).__name__}")
        return self._log

    @log.setter
    def log(self, log: logging.Logger) -> None:
        self._log = log

    @property
    def failure_log(self) -> FailureLog:
        """The rate limit for logged failures of handlers; the sessions of a server share it."""
        if self._failure_log is None:
            self._failure_log = FailureLog()
        return self._failure_log

    @failure_log.setter
    def failure_log(self, failure_log: FailureLog) -> None:
        self._failure_log = failure_log

    @property
    def stats(self) -> SessionStats:
        """A snapshot of the counters of this session."""
        from tieline.rpc.session_stats import SessionStats  # lazily: most programs never ask

        engine = self._engine
        if engine is None:
            return SessionStats(None, 0, 0, 0, 0, 0, None, None, 0, 0)
        machine = engine.machine
        return SessionStats(
            started=engine.started,
            errors=machine.faults + engine.handling.failures,
            messages_in=machine.messages_received,
            messages_out=machine.messages_sent,
            bytes_in=machine.bytes_received,
            bytes_out=machine.bytes_sent,
            last_received=machine.last_received,
            last_sent=engine.link.last_sent,
            pending=machine.open_calls,
            running=machine.unanswered,
            cost=machine.cost(engine.host.now()),
        )

    @property
    def close_reason(self) -> Exception | None:
        """Why the connection ended; None while it is open, and when this side closed it."""
        return None if self._engine is None else self._engine.machine.close_reason

    def is_closing(self) -> bool:
        """Return whether the session is closed or closing, so that nothing can be sent any more."""
        return self._engine is None or self._engine.machine.state != 0

    def has_room(self) -> bool:
        """Return whether a call or notification could be sent without waiting."""
        return self._engine is not None and self._engine.started is not None and self._engine.has_free_room()

    def remote_address(self) -> object:
        """Return the peer's socket address, for TCP (host, port, ...); None if the socket has none."""
        return self.get_extra_info("peername") or None

    def peer_certificate(self) -> dict[str, Any] | None:
        """Return the certificate that the peer presented, as ``ssl.SSLObject.getpeercert`` gives it.

        None: it presented none, or there is no TLS, or no connection yet. An empty dict: it was accepted by a context
        that verifies nothing; ``get_extra_info("ssl_object").getpeercert(True)`` still has its bytes.
        """
        encrypted = self.get_extra_info("ssl_object")
        return None if encrypted is None else cast("dict[str, Any] | None", encrypted.getpeercert())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the transport, as asyncio's transports do; *default* before there is a connection.

        Always ``peername``, ``sockname`` and ``socket``; with TLS also ``cipher``, ``peercert``, ``compression``,
        ``sslcontext`` and ``ssl_object``, which has ``version()`` and ``selected_alpn_protocol()``.
        """
        if self._engine is None or self._engine.started is None:
            return default
        return self._engine.link.transport.get_extra_info(name, default)

    def proxy(self) -> object:
        """Return the proxy that the connection goes through; None without one."""
        return None

    def peer_name(self) -> str:
        """Return the peer's address as text for people, such as ``127.0.0.1:4000``."""
        address = self.remote_address()
        if isinstance(address, tuple):
            host, port = cast("tuple[str, int]", address)[:2]
            return f"{f'[{host}]' if ':' in host else host}:{port}"
        return str(address or "a local peer")

    def __repr__(self) -> str:
        engine = self._engine
        if engine is None or engine.started is None:
            state = "not connected"
        elif engine.machine.state == 0:
            state = f"open, {self._activity(engine)}"
        else:
            state = f"{engine.machine.state.name.lower()}, {self.close_reason or 'closed by this side'}"
        return f"<{type(self).__name__} {self._target()} {state}>"

    def _activity(self, engine: EngineT) -> str:
        """Return what is going on, for people."""
        return f"{engine.machine.open_calls} calls in flight, {engine.machine.unanswered} running"

    def _target(self) -> str:
        return self.peer_name()

    def _connected(self) -> EngineT:
        engine = self._engine
        if engine is None or engine.started is None:
            raise LocalProtocolError("the session is not connected: a `with` block (or `async with`) connects a client")
        return engine
