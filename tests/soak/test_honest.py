# SPDX-License-Identifier: MIT
"""What the ledger makes of a connection that breaks: nothing before it stands, and a loss behind that."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests import aio
from tests.soak.honest import TRANSPORTS, World, live
from tests.soak.ledger import Ledger

if TYPE_CHECKING:
    from tests.certificates import Certificates


@contextmanager
def resetting(*, behind: int) -> Iterator[str]:
    """Give host and port of a listener that resets each connection when so many bytes have come, or at once."""
    listener = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()

    def run() -> None:
        while True:
            sock, _ = listener.accept()
            with sock:
                if is_over.is_set():
                    return
                if behind:
                    sock.recv(behind)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    thread = threading.Thread(target=run)
    thread.start()
    host, port = listener.getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        is_over.set()
        socket.create_connection((host, port)).close()
        thread.join()
        listener.close()


@pytest.mark.parametrize("transport", ["tls", "ws"])
async def test_a_connection_that_is_reset_before_it_stands_loses_no_order(
    transport: str, certificates: Certificates
) -> None:
    with resetting(behind=0) as place:
        world = World({transport: f"{transport}://{place}"}, certificates.ca, Ledger(), pause=0.0)
        client = aio.create_task(live(TRANSPORTS.index(transport), world, random.Random(1)))
        while not world.refused:
            await aio.sleep(0)
        world.is_over = True
        await client
    assert world.ledger.made == 0
    assert world.ledger.is_balanced


@pytest.mark.parametrize("transport", ["tcp", "bare"])
async def test_what_was_ordered_on_a_connection_that_is_reset_is_lost(transport: str) -> None:
    with resetting(behind=1) as place:
        world = World({"tcp": f"tcp://{place}"}, "", Ledger(), pause=0.0)
        client = aio.create_task(live(TRANSPORTS.index(transport), world, random.Random(1)))
        while not world.ledger.lost:
            await aio.sleep(0)
        world.is_over = True
        await client
    assert not world.ledger.is_balanced
    assert not world.ledger.open_orders
    assert world.refused == 0
