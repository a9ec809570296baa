# SPDX-License-Identifier: MIT
"""Connections in memory beyond the contract: clock, faults from one seed, sessions and servers on a network."""

from __future__ import annotations

import asyncio as stock
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import turns, until
from tieline.protocol import StreamProtocol
from tieline.serializers import JSONSerializer
from tieline.testing import Faults, MemoryNetwork, VirtualClock, memory_datagram_pair, memory_pair, memory_peer
from tieline.testing.stories import Story

if TYPE_CHECKING:
    from collections.abc import Callable

# --- the clock -------------------------------------------------------------------------------------------------------


def test_timers_go_off_in_order_each_at_its_time_with_all_that_follows() -> None:
    clock, told = VirtualClock(10.0), list[Any]()
    clock.call_at(12.0, lambda: told.append(("two", clock.now())))
    clock.call_at(11.0, lambda: clock.call_soon(lambda: told.append(("one", clock.now()))))
    cancelled = clock.call_at(11.5, lambda: told.append("never"))
    cancelled.cancel()
    clock.call_at(20.0, lambda: told.append("late"))
    clock.advance(5)
    assert told == [("one", 11.0), ("two", 12.0)]
    assert clock.now() == 15.0
    assert clock.armed() == [20.0]
    assert clock.is_quiet


def test_a_turn_makes_what_was_planned_before_it_and_keeps_what_an_error_left() -> None:
    clock, told = VirtualClock(), list[Any]()
    clock.call_soon(lambda: clock.call_soon(lambda: told.append("next")))
    clock.call_soon(lambda: 1 / 0)
    clock.call_soon(lambda: told.append("kept"))
    with pytest.raises(ZeroDivisionError):
        clock.turn()
    assert told == []
    clock.turn()
    assert told == ["kept", "next"]


def test_what_never_comes_to_rest_and_what_never_happens_is_told() -> None:
    clock = VirtualClock()

    def again() -> None:
        clock.call_soon(again)

    again()
    with pytest.raises(RuntimeError, match="plans itself again"):
        clock.run()
    with pytest.raises(TimeoutError, match="it never came to that"):
        clock.run_until(lambda: False)
    with pytest.raises(TimeoutError, match="nothing is left to happen"):
        VirtualClock().run_until(lambda: False)


def test_run_until_moves_time_from_timer_to_timer_and_no_further() -> None:
    clock, told = VirtualClock(0.0), list[int]()
    for when in (1, 2, 3):
        clock.call_at(when, lambda when=when: told.append(when))  # type: ignore[misc]  # a lambda with a default
    clock.run_until(lambda: 2 in told)
    assert clock.now() == 2.0
    with pytest.raises(TimeoutError):
        clock.run_until(lambda: 4 in told, within=0.5)
    assert told == [1, 2]
    assert clock.step()
    assert told == [1, 2, 3]
    assert not clock.step()


# --- faults ----------------------------------------------------------------------------------------------------------


def story_of(seed: int, **settings: Any) -> tuple[list[str], list[str], bytes, float]:
    """Return what two protocols hear that talk with faults of that seed."""
    clock = VirtualClock()
    ours = Story(data=lambda transport: transport.write(b"answer"))
    theirs = Story()
    memory_pair(ours, theirs, clock, capacity=100, faults=Faults(seed, **settings))
    for _ in range(20):
        theirs.transport.write(b"question" * 20)
    clock.run_until(lambda: clock.is_quiet and not clock.armed())
    assert not ours.faults + theirs.faults
    return ours.told, theirs.told, ours.data, clock.now()


def test_the_same_seed_is_the_same_run_and_another_one_is_another() -> None:
    runs = [story_of(seed) for seed in range(10)]
    assert runs == [story_of(seed) for seed in range(10)]
    assert len({str(run[0]) for run in runs}) > 5
    assert {run[2] for run in runs} == {b"question" * 400}  # whatever happens to it, the stream is the same


def test_connections_are_cut_by_an_end_or_a_reset_and_each_is_told_once() -> None:
    ways = set()
    for seed in range(30):
        ours, theirs, data, _ = story_of(seed, cut=1.0)
        assert ours.count("lost") == theirs.count("lost") == 1
        assert len(data) <= 1100
        ways.add("eof" in theirs)
    assert ways == {True, False}


def test_what_fails_within_faults_says_their_seed() -> None:
    with pytest.raises(ZeroDivisionError) as caught, Faults(4711):
        _ = 1 / 0
    assert caught.value.__notes__ == ["faults of seed 4711: Faults(4711) gives the same run"]
    assert Faults().seed != Faults().seed
    assert "Faults(7)" in repr(memory_pair(Story(), Story(), VirtualClock(), faults=Faults(7))[0])


@pytest.mark.parametrize("wrong", [{"blocked": 1.0}, {"cut": 2}, {"delay": -1}, {"chunk": -1}, {"cut_within": 0}])
def test_faults_out_of_their_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Faults(1, **wrong)


def test_a_connection_without_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="1 byte at least, not 0"):
        memory_peer(Story(), VirtualClock(), capacity=0)


def test_a_bare_end_is_told_what_a_socket_is_told() -> None:
    clock, story = VirtualClock(), Story()
    transport, peer = memory_peer(story, clock, capacity=10)
    assert peer.receive() is None
    assert peer.send(b"0123456789abc") == 10
    assert peer.send(b"abc") == 0
    clock.run()
    assert story.data == b"0123456789"
    transport.write(b"hello")
    assert peer.receive(3) == b"hel"
    transport.close()
    clock.run()
    assert (peer.receive(), peer.receive()) == (b"lo", b"")
    with pytest.raises(BrokenPipeError):
        peer.send(b"x")
    peer.close()
    peer.close()


# --- sessions --------------------------------------------------------------------------------------------------------


def methods() -> tieline.Methods:
    found = tieline.Methods()
    found.method(name="double")(lambda number: 2 * number)

    @found.method
    async def ask_back(session: tieline.ServerSession) -> Any:
        return await session.call("name")

    return found


def test_packets_are_served_on_sockets() -> None:
    with pytest.raises(TypeError, match="a server in memory is one of calls, and packets are served on sockets"):
        MemoryNetwork().serve(methods(), protocol=StreamProtocol(JSONSerializer()))


async def test_sessions_and_servers_on_a_network() -> None:
    network = MemoryNetwork()
    ours = tieline.Methods()
    ours.method(name="name")(lambda: "client")
    async with network.serve(methods()) as server:
        assert server.url == "tcp://memory:1"
        with pytest.raises(tieline.LocalProtocolError):
            await server.listen(nursery=aio.nursery())
        async with tieline.connect(server.url, ours, proxy=network) as session:
            assert await session.call("double", 21) == 42
            assert await session.call("ask_back") == "client"
            assert len(server.sessions) == 1
            assert await session.call("double", "x" * 500_000) == "x" * 1_000_000
        await until(lambda: not server.sessions)
        with pytest.raises(OSError, match="somebody listens at memory:1"):
            async with network.serve(methods()):
                pass
    with pytest.raises(ConnectionRefusedError, match="nobody listens at memory:1"):
        async with tieline.connect("tcp://memory:1", proxy=network):
            pass


async def test_tls_on_a_network(certificates: Certificates) -> None:
    network = MemoryNetwork()
    server = network.serve(methods(), "localhost", 7, tls=tieline.TLS(certificate=certificates.server))
    async with server, tieline.connect(server.url, proxy=network, tls=tieline.TLS(ca=certificates.ca)) as session:
        assert await session.call("double", 21) == 42
        assert session.get_extra_info("cipher") is not None


async def test_a_server_in_memory_tells_its_hooks() -> None:
    class Watch(tieline.Counts):
        servers = 0

        def server_made(self, server: object) -> None:
            self.servers += 1

    network, watch, offering = MemoryNetwork(), Watch(), methods()
    offering.offer_statistics()
    async with network.serve(offering, hooks=watch) as server, tieline.connect(server.url, proxy=network) as session:
        assert await session.call("double", 21) == 42
        assert (watch.servers, watch.opened, watch.methods["double"].ended) == (1, 1, 1)
        told = await session.call("rpc.statistics")
        assert [group["group"] for group in told["groups"]] == ["memory"]


async def test_a_server_that_is_shut_down_answers_what_it_has_begun() -> None:
    network, gate = MemoryNetwork(), aio.Event()
    slow = tieline.Methods()

    @slow.method
    async def wait() -> str:
        await gate.wait()
        return "done"

    async with network.serve(slow) as server, tieline.connect(server.url, proxy=network) as session:
        call = aio.create_task(session.call("wait"))
        await turns()
        stop = aio.create_task(server.shutdown(5))
        await turns()
        gate.set()
        assert await call == "done"
        await stop


@pytest.mark.parametrize("seed", range(5))
async def test_sessions_with_faults_of_each_seed(seed: int) -> None:
    with Faults(seed, delay=0.0) as faults:
        network = MemoryNetwork(faults=faults)
        async with network.serve(methods()) as server, tieline.connect(server.url, proxy=network) as session:
            calls = [session.call("double", number) for number in range(30)]
            assert await aio.gather(*calls) == [2 * number for number in range(30)]


async def test_a_call_on_a_connection_that_is_cut_ends_with_connection_lost() -> None:
    ended = 0
    for seed in range(10):
        network = MemoryNetwork(faults=Faults(seed, delay=0.0, cut=1.0))
        async with network.serve(methods()) as server, tieline.connect(server.url, proxy=network) as session:
            try:
                while True:
                    assert await session.call("double", 1) == 2
            except tieline.ConnectionLost:
                ended += 1
    assert ended == 10


async def test_a_bare_end_on_a_runtime() -> None:
    network = MemoryNetwork()
    session = tieline.ClientSession("memory", 1)
    transport, _, peer = await network.connect_peer(lambda: session.new_link(accepted=False), nursery=aio.nursery())
    call = aio.create_task(session.call("double", 4))
    await turns()
    assert peer.receive() == b'{"jsonrpc":"2.0","method":"double","params":[4],"id":0}\n'
    peer.send(b'{"jsonrpc":"2.0","result":8,"id":0}\n')
    assert await call == 8
    peer.close()
    await until(transport.is_closing)
    await turns()


async def test_cancelling_everything_on_trio_ends_connections_in_memory() -> None:
    if not aio.on_trio():
        return
    import trio

    network, story = MemoryNetwork(), Story()
    async with trio.open_nursery() as nursery:
        await network.connect_peer(lambda: story, nursery=nursery)
        await turns()
        nursery.cancel_scope.cancel()
    assert story.told == ["made", "lost"]


async def test_cancelling_everything_on_trio_ends_servers_in_memory() -> None:
    if not aio.on_trio():
        return
    import trio

    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        await network.serve(methods()).listen(nursery=nursery)
        nursery.cancel_scope.cancel()
    assert repr(network) == "<MemoryNetwork of 0 listeners>"


@pytest.mark.parametrize("ends", [lambda transport: transport.close(), lambda transport: transport.abort()])
def test_a_transport_that_is_gone_has_let_go_of_its_protocol(ends: Callable[[Any], object]) -> None:
    """As those of a loop have: the two refer to each other, and only the garbage collector would find them."""
    clock, ours = VirtualClock(), Story()
    known = weakref.ref(ours)
    transport, peer = memory_peer(ours, clock)
    del ours
    ends(transport)
    clock.run()
    assert known() is None
    assert transport.get_protocol() is None
    peer.close()


def test_a_datagram_transport_that_is_gone_has_let_go_of_its_protocol() -> None:
    clock, ours, theirs = VirtualClock(), stock.DatagramProtocol(), stock.DatagramProtocol()
    transport, other = memory_datagram_pair(ours, theirs, clock)
    transport.close()
    clock.run()
    assert transport.get_protocol() is None
    assert other.get_protocol() is theirs
