# SPDX-License-Identifier: MIT
"""Blocking packet clients, and sockets of datagrams, in a process that was forked: they stay with the other one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")

LOST = "ConnectionLost: the connection belongs to the process that this one was forked from"

BEGIN = """
import faulthandler, os, select, socket, sys, threading, tieline.blocking
from tieline import TielineError
from tieline.clients import UnixDatagramClient, UnixStreamClient
from tieline.protocol import DatagramProtocol, StreamProtocol
from tieline.serializers import StringLineSerializer
from tieline.transports import DatagramCallbacks

def forked(child):
    process = os.fork()
    if not process:
        faulthandler.dump_traceback_later(20, exit=True)  # where it waits for a thread that it has not
        child()
        sys.stdout.flush()
        os._exit(0)
    print(os.waitpid(process, 0)[1], flush=True)

def told(use):
    try:
        print(use(), flush=True)
    except TielineError as exc:
        print(f"{type(exc).__name__}: {exc}", flush=True)

def until(condition):
    while not condition():
        os.sched_yield()
"""

CLIENTS = {
    "stream": """
ours, theirs = socket.socketpair()
client = UnixStreamClient(ours, StreamProtocol(StringLineSerializer()))
in_line = lambda: len(client._engine.receivers)
""",
    "datagram": """
ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
client = UnixDatagramClient(ours, DatagramProtocol(StringLineSerializer()))
in_line = lambda: client._engine._in_line[0] if client._engine._waker else 0
""",
}

USED = """
seen = []
threads = [threading.Thread(target=lambda: seen.append(client.recv_packet()), daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
until(lambda: in_line() == 2)

def child():
    told(client.recv_packet)
    told(lambda: list(client))
    try:
        client.send_packet("from the child")
    except TielineError as exc:
        print(type(exc).__name__)
    client.close()
    told(client.recv_packet)

forked(child)
theirs.setblocking(False)
for _ in range(2):
    theirs.send(b"one\\n")
for thread in threads:
    thread.join(20)
client.send_packet("from the parent")
print(seen, theirs.recv(100).strip())
"""


def ran(program: str) -> list[str]:
    command = [sys.executable, "-W", "ignore", "-c", BEGIN + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.splitlines() or [done.stderr]


@pytest.mark.row("K15")
@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_that_threads_wait_for_is_lost_there_and_works_on_here(kind: str) -> None:
    told = [LOST, LOST, "ConnectionLost", "ClientClosedError: the client is closed", "0"]
    assert ran(CLIENTS[kind] + USED) == [*told, "['one', 'one'] b'from the parent'"]


@pytest.mark.row("K15")
def test_to_close_a_client_of_datagrams_there_wakes_nobody_here() -> None:
    looks = "forked(client.close)\nprint(select.select([client._engine._waker[0]], [], [], 0)[0])"
    waits = "threading.Thread(target=client.recv_packet, daemon=True).start()\nuntil(in_line)\n"
    assert ran(CLIENTS["datagram"] + waits + looks) == ["0", "[]"]  # what wakes one does so for ever


ENDPOINT = """
class Taker(DatagramCallbacks):
    data = None

    def datagram_received(self, data, addr):
        self.data = data

transport, taker = tieline.blocking.create_datagram_endpoint(Taker, local_addr=("127.0.0.1", 0))
poller = threading.Thread(target=transport.poll, args=(None,), daemon=True)
poller.start()
until(lambda: transport._is_led)

def child():
    told(transport.poll)
    told(lambda: transport.poll(None))
    transport.close()

forked(child)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.sendto(b"still here", transport.get_extra_info("sockname"))
poller.join(20)
print(taker.data)
"""


@pytest.mark.row("T5")
def test_so_it_is_with_a_transport_of_datagrams_that_a_thread_polls() -> None:
    lost = "ConnectionLost: the socket of datagrams is lost"
    assert ran(ENDPOINT) == [lost, lost, "0", "b'still here'"]


FAILING = """
class Fails(DatagramCallbacks):
    def connection_lost(self, error):
        raise ZeroDivisionError

kept = []
for _ in range(5):  # in which order they are told nobody knows
    kept.append(tieline.blocking.create_datagram_endpoint(Fails, local_addr=("127.0.0.1", 0)))
    ours, theirs = socket.socketpair()
    kept.append((UnixStreamClient(ours, StreamProtocol(StringLineSerializer())), theirs))

def child():
    for client, _ in kept[1::2]:
        told(client.recv_packet)

def on_unraisable(told):
    print(type(told.exc_value).__name__, *{type(one).__name__ for one in told.exc_value.exceptions}, flush=True)

sys.unraisablehook = on_unraisable
forked(child)
"""


def test_a_callback_that_fails_when_it_is_told_keeps_none_of_the_others() -> None:
    assert ran(FAILING) == ["ExceptionGroup ZeroDivisionError", *[LOST] * 5, "0"]
