# SPDX-License-Identifier: MIT
"""Traps that every runtime can fall into, shown through sessions on real sockets; R2 is trap 2 of their spec.

The others stand where what they are about is tested; `tests/rows.py` sees that none is missing.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests import aio
from tests.certificates import Certificates
from tests.rpc.blocking.peers import Task, raw_pair
from tests.rpc.blocking.peers import entries as blocking_entries
from tests.rpc.sessions import entries, no_entries, raw_server, transport_of, until
from tests.runtimes.blocking.recorder import scene as blocking_scene
from tieline import TLS, Limits, Methods, blocking, connect, serve

LONG = 300_000


@contextmanager
def encrypted_peer(url: str, certificates: Certificates) -> Iterator[Records]:
    """Give a blocking TLS client that writes its records into memory first."""
    port = int(url.rsplit(":", 1)[1])
    context = ssl.create_default_context(cafile=certificates.ca)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as bare:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                bare.sendall(outgoing.read())
                incoming.write(bare.recv(65536))
        bare.sendall(outgoing.read())
        yield Records(tls, incoming, outgoing, bare)


class Records:
    """A TLS connection whose records go out when they are told to."""

    def __init__(
        self, tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, bare: socket.socket
    ) -> None:
        self._tls, self._incoming, self._outgoing, self._bare = tls, incoming, outgoing, bare

    def send_in_one_segment(self, *messages: bytes) -> None:
        """Send each message in a record of its own, and all records by one call of the system."""
        for message in messages:
            self._tls.write(message)
        self._bare.sendall(self._outgoing.read())

    def lines(self, count: int) -> list[Any]:
        data = b""
        while data.count(b"\n") < count:
            try:
                data += self._tls.read(65536)
            except ssl.SSLWantReadError:
                came = self._bare.recv(65536)
                assert came, data
                self._incoming.write(came)
        return [json.loads(line) for line in data.splitlines()]


@pytest.mark.row("R2", "S9", "D6")
async def test_handlers_of_several_tls_records_in_one_read_are_all_answered(certificates: Certificates) -> None:
    methods = Methods()
    started: list[int] = []

    @methods.method
    async def late(number: int) -> int:
        started.append(number)
        await aio.sleep(0 if number % 2 else 0.001)
        return number

    def talk(url: str) -> list[Any]:
        with encrypted_peer(url, certificates) as peer:
            calls = [b'{"jsonrpc":"2.0","method":"late","params":[%d],"id":%d}\n' % (n, n) for n in range(40)]
            peer.send_in_one_segment(*calls)
            return peer.lines(40)

    async with serve(methods, "tls://127.0.0.1:0", tls=TLS(certificate=certificates.server)) as server:
        answers = await aio.to_thread(talk, server.url)
    assert sorted(answer["result"] for answer in answers) == list(range(40))
    assert started == list(range(40))


@pytest.mark.row("R4", "T2", "D6")
async def test_what_tls_holds_while_reading_is_paused_is_not_delivered_from_within_resume_reading(
    certificates: Certificates,
) -> None:
    methods = Methods()
    heard: list[int] = []
    methods.method(name="news")(heard.append)
    inside, outside = TLS(certificate=certificates.server), TLS(ca=certificates.ca)
    async with (
        serve(Methods(), "tls://127.0.0.1:0", tls=inside) as server,
        connect(server.url, methods, tls=outside) as session,
    ):
        await until(lambda: server.sessions)
        (peer,) = server.sessions
        transport = transport_of(session)
        for number in range(3):
            transport.pause_reading()
            await peer.notify("news", number)
            # It is at our end now, and waits. (What waits in the layer itself: test_tls_layer.py.)
            record = await aio.to_thread(_peeked, transport.get_extra_info("socket"))
            assert record
            assert heard == list(range(number))
            transport.resume_reading()
            assert heard == list(range(number))  # not in here: this may be anybody's task
            await until(lambda number=number: heard == list(range(number + 1)))  # type: ignore[misc]  # a lambda with a default


def _peeked(sock: Any) -> bytes:
    """Wait until something has come, and leave it there."""
    with socket.socket(fileno=socket.dup(sock.fileno())) as copy:
        copy.settimeout(10)
        data = copy.recv(65536, socket.MSG_PEEK)
        copy.setblocking(False)  # it is one with the original's
        return data


@pytest.mark.row("R4", "T2")
def test_so_it_is_in_blocking_code() -> None:
    with blocking_scene() as s:
        s.do(s.transport.pause_reading)
        s.peer.sendall(b"held")
        s.pump(0.01)
        assert s.protocol.data == b""
        s.do(s.transport.resume_reading)
        assert s.protocol.data == b""
        s.pump_until(lambda: s.protocol.data == b"held")


@pytest.mark.row("R7")
def test_sessions_of_several_threads_share_no_receive_buffer() -> None:
    methods = Methods()
    methods.method(name="echo")(lambda value: value)

    def talk(url: str, seed: int) -> bool:
        rng = random.Random(seed)
        with blocking.connect(url) as session:
            for _ in range(20):
                text = f"{seed}:" * rng.randrange(1000, 60_000)
                if session.call("echo", text) != text:
                    return False
        return True

    with blocking.serve(methods, "tcp://127.0.0.1:0") as server:
        tasks = [Task(talk, server.url, seed) for seed in range(6)]
        assert all(task.result() for task in tasks)


# --- R9: what was half sent when its sender gave up ------------------------------------------------------------------


@pytest.mark.row("R9", "S7", "K13")
async def test_a_sender_that_gives_up_in_the_middle_of_a_message_spoils_no_framing() -> None:
    async with raw_server(limits=Limits(write_timeout=None, max_message=1 << 22)) as (session, peer):
        sent = given_up = 0
        while given_up < 20:
            task = aio.create_task(session.notify("note", sent, "x" * LONG))
            for _ in range(5):
                await aio.sleep(0)
            if not task.done():
                given_up += 1
                task.cancel()
            await aio.wait([task])
            sent += 1
        calling = aio.create_task(session.call("last"))
        numbers = []
        while (message := await peer.line())["method"] == "note":
            assert message["params"][1] == "x" * LONG
            numbers.append(message["params"][0])
        assert numbers == sorted(set(numbers))
        assert set(numbers) <= set(range(sent))
        peer.send({"jsonrpc": "2.0", "result": "whole", "id": message["id"]})
        assert await calling == "whole"
        assert no_entries(session), entries(session)


@pytest.mark.row("R9", "S7", "K13")
def test_nor_does_a_blocking_one_that_is_out_of_time() -> None:
    with raw_pair(limits=Limits(write_timeout=None, max_message=1 << 22)) as (session, peer):
        sent = late = 0
        while late < 5:
            try:
                session.call("call", sent, "x" * LONG, timeout=0.02)
            except TimeoutError:
                late += 1
            sent += 1
        calling = Task(session.call, "last", timeout=30)
        numbers = []
        while (message := peer.line())["method"] == "call":
            assert message["params"][1] == "x" * LONG
            numbers.append(message["params"][0])
        assert numbers == sorted(set(numbers))
        peer.send({"jsonrpc": "2.0", "result": "whole", "id": message["id"]})
        assert calling.result() == "whole"
        assert not any(blocking_entries(session).values()), blocking_entries(session)
