# SPDX-License-Identifier: MIT
"""What a server does, as metrics of OpenTelemetry.

This file owns the names: what is recorded, with which attributes, and how many values of each there can be. It hears
all that as hooks do. It is loaded when a program records in this way, and loads OpenTelemetry's API only then.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any, Final

from tieline.errors import RPCError
from tieline.runtimes.hooks import MAX_METHODS, Hooks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.metrics import MeterProvider

__all__ = ["OpenTelemetryMetrics"]

# The semantic conventions for RPC of which the names below are: opentelemetry.io/docs/specs/semconv/rpc.
SCHEMA: Final = "https://opentelemetry.io/schemas/1.40.0"
# What they recommend for durations, in seconds.
BOUNDARIES: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
# What they call a method that nobody knows, and an error that has no name of its own.
OTHER: Final = "_OTHER"
# Each value of an attribute is kept by whoever collects metrics, until the program ends. Codes of errors are chosen by
# handlers, which may relay those of others; texts of refusals hold limits, which differ from server to server.
MOST_ERRORS: Final = 100
MOST_REASONS: Final = 20


class _Values:
    """The values of an attribute: the first so many are told, and further ones as `OTHER`."""

    __slots__ = ("_most", "_told")

    def __init__(self, most: int) -> None:
        self._most = most
        self._told: set[str] = set()

    def told(self, value: str) -> str:
        if value in self._told:
            return value
        if len(self._told) >= self._most:
            return OTHER
        self._told.add(value)
        return value


class OpenTelemetryMetrics(Hooks):
    """Hooks that record metrics by the API of OpenTelemetry. They need the extra ``tieline[otel]``.

    Give one to `serve` as ``hooks=``; several servers, in any threads, may share it. Calls and notifications go into
    the histogram ``rpc.server.call.duration``, as the semantic conventions for RPC have it. Messages without
    replies have a histogram of their own, and all servers have counters of their connections. "Monitor a server" in the
    documentation lists them. Nothing is recorded until the program has set up an SDK.

    A method is recorded by its name if it is registered with the session, or in *methods*, up to a thousand of them.
    All others, which peers may have invented, are recorded as ``_OTHER``.

    Args:
        meter_provider: Where the metrics go; None = to the global provider, which may be set up before or after this.
        methods: Names of methods to record besides the registered ones, for those that only a session's class knows.
        attributes: Added to everything that is recorded, to distinguish servers, such as ``{"server.port": 4000}``.

    Raises:
        ModuleNotFoundError: The API of OpenTelemetry is not installed.
        TypeError: *methods* or *attributes* are not what they should be.
    """

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        *,
        methods: Iterable[str] = (),
        attributes: Mapping[str, str | bool | int | float] | None = None,
    ) -> None:
        try:
            from opentelemetry.metrics import get_meter
        except ImportError:
            needs = "OpenTelemetryMetrics needs opentelemetry-api: pip install 'tieline[otel]'"
            raise ModuleNotFoundError(needs) from None  # it says all
        if isinstance(methods, str):
            raise TypeError("methods must be names of methods, not one str")
        self._known = frozenset(methods)
        self._attributes = dict(attributes or {})
        for name, value in self._attributes.items():
            if not isinstance(value, str | bool | int | float):
                raise TypeError(f"attributes must be texts, numbers or bools: {name} is of type {type(value).__name__}")
        self._of_calls = {**self._attributes, "rpc.system.name": "jsonrpc"}
        self._methods, self._errors, self._reasons = _Values(MAX_METHODS), _Values(MOST_ERRORS), _Values(MOST_REASONS)
        meter = get_meter("tieline", _version(), meter_provider, SCHEMA)
        self._calls = meter.create_histogram(
            "rpc.server.call.duration",
            unit="s",
            description="Measures the duration of an incoming Remote Procedure Call (RPC).",
            explicit_bucket_boundaries_advisory=BOUNDARIES,
        )
        self._messages = meter.create_histogram(
            "tieline.server.message.duration",
            unit="s",
            description="How long the handlers of messages without replies take.",
            explicit_bucket_boundaries_advisory=BOUNDARIES,
        )
        self._connections = meter.create_up_down_counter(
            "tieline.server.connection.count", unit="{connection}", description="Connections that are open."
        )
        self._refusals = meter.create_counter(
            "tieline.server.connection.refusals", unit="{connection}", description="Peers that were turned away."
        )
        self._limits_hit = meter.create_counter(
            "tieline.server.connection.limits_hit",
            unit="{connection}",
            description="Connections that ended because the peer went over a limit, or broke a rule.",
        )

    def connection_opened(self, session: Any) -> None:
        self._connections.add(1, self._attributes)

    def connection_closed(self, session: Any, reason: Exception | None) -> None:
        self._connections.add(-1, self._attributes)

    def connection_refused(self, session: Any, reason: str) -> None:
        self._refusals.add(1, {**self._attributes, "tieline.refusal.reason": self._reasons.told(reason)})

    def limit_hit(self, session: Any, error: Exception) -> None:
        self._limits_hit.add(1, {**self._attributes, **self._told_of(error)})

    def call_ended(self, session: Any, method: str, seconds: float, error: BaseException | None) -> None:
        told = {} if error is None else self._told_of(error)
        if method == "handle_message" and hasattr(session, method):
            self._messages.record(seconds, {**self._attributes, **told})
        else:
            self._calls.record(seconds, {**self._of_calls, "rpc.method": self._name(session, method), **told})

    def _name(self, session: Any, method: str) -> str:
        """Return how a method is told: peers make up names."""
        # Looked up each time: another server that records here may not have it, nor the same one later.
        registered = getattr(session, "methods", None)
        if method in self._known or (isinstance(registered, Container) and method in registered):
            return self._methods.told(method)
        return OTHER

    def _told_of(self, error: BaseException) -> dict[str, str]:
        """Return the attributes that tell of an error."""
        if not isinstance(error, RPCError):
            return {"error.type": self._errors.told(type(error).__qualname__)}
        code = self._errors.told(str(error.code))
        return {"error.type": code} if code == OTHER else {"error.type": code, "rpc.response.status_code": code}


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # lazily: it loads what reads mail

    try:
        return version("tieline")
    except PackageNotFoundError:  # it runs from a tree, or out of one file, that was not installed
        return ""
