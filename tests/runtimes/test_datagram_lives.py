# SPDX-License-Identifier: MIT
"""Sockets of datagrams when they are cancelled, in a nursery that ends, and among threads."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from typing import Any

import pytest
import trio
import trio.testing

import tieline
import tieline.blocking
from tests import aio
from tests.rpc.sessions import until
from tests.runtimes.datagram_scene import LOCAL, Scene, Story, udp
from tests.runtimes.scripted_proxies import listening, silent
from tests.runtimes.sockets import open_sockets
from tieline import ClosedError, ConnectionLost, LocalProtocolError

# --- asynchronous ones -----------------------------------------------------------------------------------------------


@pytest.mark.row("D2", "P9")
async def test_cancelled_while_a_proxy_is_silent_it_leaves_nothing(runtime: Any) -> None:
    with listening(silent) as proxy:
        held = open_sockets()
        with pytest.raises(TimeoutError):
            async with aio.timeout(0.05):
                await tieline.create_datagram_endpoint(
                    Story, remote_addr=("127.0.0.1", 9), proxy=f"socks5://127.0.0.1:{proxy.port}", nursery=aio.nursery()
                )
        assert proxy.begun.acquire(timeout=10)
        assert proxy.ended.acquire(timeout=10)  # closed by us
        await until(lambda: open_sockets() == held)  # the proxy's thread closes its own a moment later


async def test_a_protocol_of_asyncio_is_as_good(runtime: Any) -> None:
    from asyncio import DatagramProtocol

    class Theirs(DatagramProtocol):
        got: bytes | None = None

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.got = data

    async with Scene(runtime) as scene:
        transport, protocol = await tieline.create_datagram_endpoint(Theirs, LOCAL, nursery=aio.nursery())
        client = await scene.opened(None, transport.get_extra_info("sockname"))
        client.transport.sendto(b"hello")
        await scene.until(lambda: protocol.got)
        transport.set_protocol(second := Theirs())
        client.transport.sendto(b"to another")
        await scene.until(lambda: second.got)
        assert (protocol.got, second.got) == (b"hello", b"to another")
        transport.close()


def test_a_nursery_that_is_cancelled_ends_its_transports() -> None:
    stories: list[Story] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for pauses in (False, True):
                transport, story = await tieline.create_datagram_endpoint(Story, LOCAL, nursery=nursery)
                if pauses:
                    transport.pause_reading()
                stories.append(story)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert [story.told for story in stories] == [["made", "lost"]] * 2
    assert all(story.transport.get_extra_info("socket").fileno() == -1 for story in stories)


def test_a_nursery_that_is_over_takes_no_transport() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            pass
        with pytest.raises(LocalProtocolError, match=r"nursery .* is over"):
            await tieline.create_datagram_endpoint(Story, LOCAL, nursery=nursery)

    trio.run(main)


# --- blocking ones ---------------------------------------------------------------------------------------------------


def opened(*addresses: Any, **settings: Any) -> Story:
    _, story = tieline.blocking.create_datagram_endpoint(Story, *addresses, **settings)
    return story  # type: ignore[no-any-return]  # a factory's protocol is of any type


@pytest.mark.row("P9")
def test_a_silent_proxy_is_waited_for_as_long_as_is_said() -> None:
    with listening(silent) as proxy:
        url = f"socks5://127.0.0.1:{proxy.port}"
        with pytest.raises(TimeoutError, match=rf"to udp://127\.0\.0\.1:9 through {url} within 0\.05 s"):
            opened(None, ("127.0.0.1", 9), proxy=url, timeout=0.05)
        assert proxy.ended.acquire(timeout=10)
    for bad in (-1, float("nan")):
        with pytest.raises(ValueError, match="0 or more seconds"):
            opened(LOCAL, timeout=bad)


def test_polling_says_whether_anything_came_and_when_there_is_nothing_to_poll() -> None:
    story = opened(LOCAL)
    transport = story.transport
    assert transport.poll() is False
    began = time.monotonic()
    assert transport.poll(0.02) is False
    assert time.monotonic() - began >= 0.02
    with pytest.raises(ValueError, match="0 or more seconds"):
        transport.poll(-1)
    with udp() as peer:
        peer.sendto(b"x", transport.get_extra_info("sockname"))
    assert transport.poll(None) is True
    assert story.got == [b"x"]
    transport.close()
    assert story.lost_with == [None]  # at once
    with pytest.raises(ClosedError, match="closed"):
        transport.poll()
    lost = opened(LOCAL)
    lost.transport.fail(OSError("gone"))
    with pytest.raises(ConnectionLost) as raised:
        lost.transport.poll()
    assert str(raised.value.__cause__) == "gone"


def test_polling_from_within_a_callback_is_refused() -> None:
    caught: list[BaseException] = []

    def poll(transport: Any) -> None:
        try:
            transport.poll(None)
        except LocalProtocolError as exc:
            caught.append(exc)

    _, story = tieline.blocking.create_datagram_endpoint(lambda: Story(datagram=poll), LOCAL)
    with udp() as peer:
        peer.sendto(b"x", story.transport.get_extra_info("sockname"))
    story.transport.poll(10)
    assert len(caught) == 1
    story.transport.close()


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_thread_that_polls_is_woken_by_the_end(how: str) -> None:
    story = opened(LOCAL)
    results: list[object] = []

    def poll() -> None:
        try:
            results.append(story.transport.poll(None))
        except ClosedError as exc:
            results.append(type(exc))

    pollers = [threading.Thread(target=poll) for _ in range(3)]
    for each in pollers:
        each.start()
    with udp() as peer:
        while not story.transport._is_led:
            pass
        getattr(story.transport, how)()
        for each in pollers:
            each.join(10)
        assert not any(each.is_alive() for each in pollers)
        assert story.lost_with == [None]
        assert set(results) <= {True, ClosedError}
        assert len(results) == 3
        peer.close()
    assert story.transport.get_extra_info("socket").fileno() == -1


def test_threads_send_and_poll_at_the_same_time() -> None:
    server = opened(LOCAL)
    client = opened(None, server.transport.get_extra_info("sockname"))
    server.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

    def send(number: int) -> None:
        for count in range(200):
            client.transport.sendto(b"%d %d" % (number, count))

    def poll() -> None:
        while len(server.got) < 800:
            server.transport.poll(0.05)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    threads += [threading.Thread(target=poll) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert not any(each.is_alive() for each in threads)
    for number in range(4):  # each sender's in order
        mine = [data for data in server.got if data.startswith(b"%d " % number)]
        assert mine == [b"%d %d" % (number, count) for count in range(200)]
    server.transport.close()
    client.transport.close()


def test_an_interrupt_in_a_callback_comes_out_of_poll_and_polling_goes_on() -> None:
    def interrupt(_transport: Any) -> None:
        raise KeyboardInterrupt

    _, story = tieline.blocking.create_datagram_endpoint(lambda: Story(datagram=interrupt), LOCAL)
    with udp() as peer:
        for _ in range(2):
            peer.sendto(b"x", story.transport.get_extra_info("sockname"))
            with pytest.raises(KeyboardInterrupt):
                story.transport.poll(10)
    assert len(story.got) == 2
    story.transport.close()


def test_a_socket_that_is_none_any_more_ends_it_with_the_error() -> None:
    story = opened(LOCAL)
    # Another kind of file under the same number: nobody can read datagrams from it.
    read, write = os.pipe()
    os.dup2(read, story.transport.get_extra_info("socket").fileno())
    os.close(read)
    os.write(write, b"x")
    assert story.transport.poll(10)
    os.close(write)
    (error,) = story.lost_with
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOTSOCK
