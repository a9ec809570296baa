# SPDX-License-Identifier: MIT
"""rpc/telemetry.py: what a server records by the API of OpenTelemetry, as its own SDK collects it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
from opentelemetry.metrics import MeterProvider as AnyMeterProvider
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import tieline
from tests import aio
from tests.rpc.blocking.peers import until as until_in_blocking_code
from tests.rpc.message_sessions import PING, Node
from tests.rpc.sessions import TCP_URL, raw_client, until
from tests.servers.scene import JSON, LINES, echo, heard, peer_of, told
from tieline import (
    Governance,
    Limits,
    Methods,
    OpenTelemetryMetrics,
    RPCError,
    ServerSession,
    connect,
    serve,
)
from tieline.blocking import ServerMessageSession
from tieline.blocking import connect as blocking_connect
from tieline.blocking import serve as blocking_serve
from tieline.rpc.telemetry import BOUNDARIES, MOST_ERRORS, MOST_REASONS
from tieline.runtimes.hooks import MAX_METHODS

CALLS = "rpc.server.call.duration"
MESSAGES = "tieline.server.message.duration"
OPEN = "tieline.server.connection.count"
REFUSALS = "tieline.server.connection.refusals"
LIMITS_HIT = "tieline.server.connection.limits_hit"
RPC = ("rpc.system.name", "jsonrpc")

methods = Methods()


@methods.method
def add(a: int, b: int) -> int:
    return a + b


@methods.method
async def add_later(a: int, b: int) -> int:
    await aio.sleep(0)
    return a + b


@methods.method
async def hang() -> None:
    await aio.Event().wait()


@methods.method
def refuse(code: int) -> None:
    raise RPCError(code, "no")


@methods.method
def fail() -> None:
    raise ValueError("a text that peers must not see")


@methods.method
def give() -> object:
    return object()


class Recorded:
    """What was recorded through `provider`."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def metrics(self) -> list[Any]:
        data: Any = self.reader.get_metrics_data()
        if data is None:
            return []
        [resource] = data.resource_metrics
        [scope] = resource.scope_metrics
        assert (scope.scope.name, scope.scope.schema_url) == ("tieline", "https://opentelemetry.io/schemas/1.40.0")
        return list(scope.metrics)

    def points(self, name: str) -> list[Any]:
        return [point for metric in self.metrics() if metric.name == name for point in metric.data.data_points]

    def counts(self, name: str) -> dict[frozenset[tuple[str, Any]], int]:
        """Return how often what was recorded, by its attributes; of calls, without those that all of them have."""
        found: dict[frozenset[tuple[str, Any]], int] = {}
        for point in self.points(name):
            attributes = set(point.attributes.items())
            if name == CALLS:
                attributes.remove(RPC)
            found[frozenset(attributes)] = point.value if hasattr(point, "value") else point.count
        return found


def of(method: str, error: str | None = None, port: int | None = None) -> frozenset[tuple[str, Any]]:
    """Return the attributes of a call; an *error* that is a number is one of JSON-RPC."""
    found: dict[str, Any] = {"rpc.method": method}
    if port is not None:
        found["server.port"] = port
    if error is not None:
        found["error.type"] = error
        if error.lstrip("-").isdigit():
            found["rpc.response.status_code"] = error
    return frozenset(found.items())


# A method, and with which error it ends.
ENDS: list[tuple[str, list[Any], str | None]] = [
    ("add", [1, 2], None),
    ("add_later", [1, 2], None),
    ("add", [1], "-32602"),
    ("refuse", [7], "7"),
    ("fail", [], "-32603"),
    ("give", [], "-32603"),
    ("nobody", [], "-32601"),
]
RECORDED = {of("_OTHER" if name == "nobody" else name, error): 1 for name, _, error in ENDS}


async def test_calls_and_connections_are_recorded() -> None:
    recorded = Recorded()
    async with serve(methods, TCP_URL, hooks=OpenTelemetryMetrics(recorded.provider)) as server:
        async with connect(server.url) as client:
            for name, args, _ in ENDS:
                with suppress(RPCError):
                    await client.call(name, *args)
            assert recorded.counts(OPEN) == {frozenset(): 1}
        await until(lambda: not server.sessions)
    assert recorded.counts(CALLS) == RECORDED
    assert recorded.counts(OPEN) == {frozenset(): 0}
    assert {point.explicit_bounds for point in recorded.points(CALLS)} == {BOUNDARIES}
    assert all(0 <= point.sum < 60 for point in recorded.points(CALLS))
    units = {metric.name: metric.unit for metric in recorded.metrics()}
    assert units == {CALLS: "s", OPEN: "{connection}"}


def test_so_they_are_in_blocking_code() -> None:
    recorded = Recorded()
    with blocking_serve(methods, TCP_URL, hooks=OpenTelemetryMetrics(recorded.provider)) as server:
        with blocking_connect(server.url) as client:
            for name, args, _ in ENDS:
                with suppress(RPCError):
                    client.call(name, *args)
            assert recorded.counts(OPEN) == {frozenset(): 1}
        until_in_blocking_code(lambda: recorded.counts(OPEN) == {frozenset(): 0})
    assert recorded.counts(CALLS) == RECORDED


async def test_notifications_are_calls_as_well() -> None:
    recorded = Recorded()
    metrics = OpenTelemetryMetrics(recorded.provider)
    async with serve(methods, TCP_URL, hooks=metrics) as server, connect(server.url) as client:
        await client.notify("add", 1, 2)
        await client.notify("nobody")
        await until(lambda: len(recorded.points(CALLS)) == 2)
    assert recorded.counts(CALLS) == {of("add"): 1, of("_OTHER", "-32601"): 1}


async def test_a_call_whose_connection_went_down_is_recorded_with_that() -> None:
    recorded = Recorded()
    metrics = OpenTelemetryMetrics(recorded.provider)
    async with serve(methods, TCP_URL, hooks=metrics) as server, raw_client(server) as peer:
        peer.send({"jsonrpc": "2.0", "method": "hang", "id": 1})
        await until(lambda: any(session.stats.running for session in server.sessions))
        peer.reset()
        await until(lambda: not server.sessions)
    assert recorded.counts(CALLS) == {of("hang", "ConnectionLost"): 1}


async def test_refusals_and_limits_are_recorded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    recorded = Recorded()
    limits = Limits(governance=Governance(error_base_cost=6000, cost_decay_per_sec=0, cost_sleep=0), linger=0.05)
    async with serve(methods, TCP_URL, limits=limits, hooks=OpenTelemetryMetrics(recorded.provider)) as server:
        async with connect(server.url) as client:
            for _ in range(2):
                with suppress(RPCError, tieline.ConnectionLost):
                    await client.call("nobody")
            await client.wait_closed()
        await until(lambda: not server.sessions)
        for _ in range(2):
            async with connect(server.url) as client:
                await client.wait_closed()
    reason = ("tieline.refusal.reason", "excessive resource usage (limit 10000)")
    assert recorded.counts(REFUSALS) == {frozenset({reason}): 2}
    assert recorded.counts(LIMITS_HIT) == {frozenset({("error.type", "ExcessiveResourceUsage")}): 1}
    assert recorded.counts(OPEN) == {frozenset(): 0}


# --- other kinds of servers ------------------------------------------------------------------------------------------


async def test_messages_have_a_histogram_of_their_own() -> None:
    class Fails(Node):
        async def handle_message(self, message: Any) -> None:
            raise ValueError("no")

    recorded = Recorded()
    metrics = OpenTelemetryMetrics(recorded.provider)
    async with (
        serve(Node, TCP_URL, hooks=metrics) as one,
        serve(Fails, TCP_URL, hooks=metrics) as two,
        connect(one.url, session_factory=Node) as client,
        connect(two.url, session_factory=Node) as other,
    ):
        await client.send_message(PING)
        await other.send_message(PING)
        await until(lambda: len(recorded.points(MESSAGES)) == 2)
    assert recorded.counts(MESSAGES) == {frozenset(): 1, frozenset({("error.type", "ValueError")}): 1}
    assert {point.explicit_bounds for point in recorded.points(MESSAGES)} == {BOUNDARIES}
    assert recorded.points(CALLS) == []


def test_so_they_have_in_blocking_code() -> None:
    class Lines(ServerMessageSession):
        def default_framer(self) -> tieline.NewlineFramer:
            return tieline.NewlineFramer(max_size=self.max_message)

        def handle_message(self, message: Any) -> None:
            pass

    recorded = Recorded()
    metrics = OpenTelemetryMetrics(recorded.provider)
    with blocking_serve(Lines, TCP_URL, hooks=metrics) as server, peer_of(server) as peer:
        peer.sendall(b"hello\n")
        until_in_blocking_code(lambda: recorded.points(MESSAGES))
    assert recorded.counts(MESSAGES) == {frozenset(): 1}


async def test_a_method_may_have_the_name_of_what_handles_messages() -> None:
    recorded, own = Recorded(), Methods()
    own.method(name="handle_message")(lambda: None)
    metrics = OpenTelemetryMetrics(recorded.provider)
    async with serve(own, TCP_URL, hooks=metrics) as server, connect(server.url) as client:
        await client.call("handle_message")
    assert recorded.counts(CALLS) == {of("handle_message"): 1}


async def test_of_packet_servers_connections_are_recorded() -> None:
    recorded = Recorded()
    metrics = OpenTelemetryMetrics(recorded.provider)
    async with serve(echo, TCP_URL, protocol=LINES, hooks=metrics) as server:
        with peer_of(server) as peer:
            await told(peer, b"x\n")
            assert await heard(peer, 2) == b"x\n"
            assert recorded.counts(OPEN) == {frozenset(): 1}
        await until(lambda: recorded.counts(OPEN) == {frozenset(): 0})
    async with serve(echo, TCP_URL, protocol=JSON, hooks=metrics) as server:
        with peer_of(server) as peer:
            await told(peer, b"{no json}\n")
            await until(lambda: recorded.counts(LIMITS_HIT))
    assert recorded.counts(LIMITS_HIT) == {frozenset({("error.type", "StreamProtocolParseError")}): 1}
    assert recorded.points(CALLS) == recorded.points(MESSAGES) == []


# --- what is told, and how much of it --------------------------------------------------------------------------------


async def test_methods_that_nobody_has_registered_are_one_however_many_there_are() -> None:
    recorded = Recorded()
    metrics = OpenTelemetryMetrics(recorded.provider)
    limits = Limits(governance=Governance(error_base_cost=0))  # else it would be cut first
    async with serve(methods, TCP_URL, limits=limits, hooks=metrics) as server, connect(server.url) as client:
        for _ in range(3):
            async with client.batch() as batch:
                for number in range(700):
                    batch.add_request(f"made up {number}")
        assert await client.call("add", 1, 2) == 3
    assert recorded.counts(CALLS) == {of("_OTHER", "-32601"): 2100, of("add"): 1}


class Knows(ServerSession):
    """Has a method that is in no registry."""

    def request_handler(self, name: str) -> Any:
        return (lambda: 1) if name == "own" else super().request_handler(name)


async def test_a_method_that_a_class_knows_can_be_named() -> None:
    recorded = Recorded()
    for given in ((), ["own"]):
        metrics = OpenTelemetryMetrics(recorded.provider, methods=given)
        async with (
            serve(lambda: Knows(methods=methods), TCP_URL, hooks=metrics) as server,
            connect(server.url) as client,
        ):
            assert await client.call("own") == 1
    assert recorded.counts(CALLS) == {of("_OTHER"): 1, of("own"): 1}


def test_registered_names_errors_and_reasons_are_bounded_as_well() -> None:
    class All:
        def __contains__(self, name: object) -> bool:
            return True

    class Session:
        methods = All()

    recorded = Recorded()
    metrics = OpenTelemetryMetrics(recorded.provider)
    for number in range(MAX_METHODS + 50):
        metrics.call_ended(Session(), f"method {number}", 0.5, None)
    assert len(recorded.points(CALLS)) == MAX_METHODS + 1
    assert recorded.counts(CALLS)[of("_OTHER")] == 50
    for number in range(MOST_ERRORS + 50):
        metrics.call_ended(Session(), "method 0", 0.5, RPCError(number, "no"))
        metrics.limit_hit(None, type(f"Error{number}", (Exception,), {})())
        metrics.connection_refused(None, f"full ({number})")
    # The codes of calls and the classes of limits are kept together.
    assert len(recorded.points(CALLS)) == MAX_METHODS + 1 + MOST_ERRORS // 2 + 1
    assert recorded.counts(CALLS)[of("method 0", "_OTHER")] == 100
    assert len(recorded.points(LIMITS_HIT)) == MOST_ERRORS // 2 + 1
    assert len(recorded.points(REFUSALS)) == MOST_REASONS + 1
    assert recorded.counts(REFUSALS)[frozenset({("tieline.refusal.reason", "_OTHER")})] == 130


async def test_several_servers_share_one_or_are_told_apart() -> None:
    recorded, fewer = Recorded(), Methods()
    fewer.method(name="hang")(lambda: None)
    shared = OpenTelemetryMetrics(recorded.provider)
    apart = OpenTelemetryMetrics(recorded.provider, attributes={"server.port": 4000})
    async with (
        serve(methods, TCP_URL, hooks=shared) as one,
        serve(fewer, TCP_URL, hooks=shared) as two,
        serve(methods, TCP_URL, hooks=[apart]) as three,
    ):
        for server in (one, two, three):
            async with connect(server.url) as client:
                with suppress(RPCError):
                    await client.call("add", 1, 2)
        await until(lambda: not (one.sessions or two.sessions or three.sessions))
    # What the one has registered is unknown to the other.
    assert recorded.counts(CALLS) == {
        of("add"): 1,
        of("_OTHER", "-32601"): 1,
        of("add", port=4000): 1,
    }
    assert recorded.counts(OPEN) == {frozenset(): 0, frozenset({("server.port", 4000)}): 0}


def test_servers_in_several_threads_share_one() -> None:
    recorded = Recorded()
    metrics = OpenTelemetryMetrics(recorded.provider)
    with blocking_serve(methods, TCP_URL, hooks=metrics) as one, blocking_serve(methods, TCP_URL, hooks=metrics) as two:

        def call(url: str) -> None:
            with blocking_connect(url) as client:
                for _ in range(100):
                    assert client.call("add", 1, 2) == 3

        threads = [threading.Thread(target=call, args=(server.url,)) for server in (one, two, one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until_in_blocking_code(lambda: recorded.counts(OPEN) == {frozenset(): 0})
    assert recorded.counts(CALLS) == {of("add"): 400}


# --- when something is wrong -----------------------------------------------------------------------------------------


async def test_an_instrument_that_fails_is_logged_and_breaks_no_call(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(NoOpMeterProvider):
        def get_meter(self, *args: Any, **kwargs: Any) -> Any:
            return self

        def create_histogram(self, *args: Any, **kwargs: Any) -> Any:
            return self

        create_counter = create_up_down_counter = create_histogram

        def add(self, *args: Any) -> None:
            raise RuntimeError("no")

        record = add

    provider: AnyMeterProvider = Broken()
    async with serve(methods, TCP_URL, hooks=OpenTelemetryMetrics(provider)) as server:
        async with connect(server.url) as client:
            assert await client.call("add", 1, 2) == 3
            assert await client.call("add_later", 1, 2) == 3
        await until(lambda: not server.sessions)
    lines = {record.getMessage() for record in caplog.records}
    assert lines == {f"the hook {name} failed" for name in ("connection_opened", "call_ended", "connection_closed")}


async def test_without_an_sdk_nothing_is_recorded_and_all_goes_on() -> None:
    metrics = OpenTelemetryMetrics(NoOpMeterProvider())
    async with serve(methods, TCP_URL, hooks=metrics) as server, connect(server.url) as client:
        assert await client.call("add", 1, 2) == 3


GLOBAL = """
import tieline
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
before = tieline.OpenTelemetryMetrics()
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
for each in (before, tieline.OpenTelemetryMetrics()):
    each.call_ended(None, "x", 0.006, None)
[metric] = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
[point] = metric.data.data_points
print(metric.name, point.count, point.bucket_counts[1])
"""


def test_the_global_provider_is_used_be_it_set_up_before_or_after() -> None:
    done = subprocess.run([sys.executable, "-c", GLOBAL], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"{CALLS} 2 2\n", "")


def test_the_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
    text = r"OpenTelemetryMetrics needs opentelemetry-api: pip install 'tieline\[otel\]'"
    with pytest.raises(ModuleNotFoundError, match=text):
        OpenTelemetryMetrics()


def test_a_tree_that_was_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", unknown)
    recorded = Recorded()
    OpenTelemetryMetrics(recorded.provider).connection_opened(None)
    assert recorded.counts(OPEN) == {frozenset(): 1}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"methods": "add"}, "methods must be names of methods, not one str"),
        ({"attributes": {"where": ["here"]}}, "attributes must be texts, numbers or bools: where is of type list"),
    ],
)
def test_arguments_that_cannot_be_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        OpenTelemetryMetrics(NoOpMeterProvider(), **given)
