# SPDX-License-Identifier: MIT
"""A session that is closed while its peer is silent in the handshake: nothing was said yet, so nobody is waited for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from tests import aio
from tests.rpc.sessions import turns
from tieline import ClosedError, connect
from tieline.blocking import connect as blocking_connect

pytestmark = pytest.mark.row("S13", "D6")

# Nobody waits for so long: a session that went on dialling would fail by it.
LONG = 60.0
WAYS = ["aclose", "close", "abort"]
URLS = ["tls", "ws", "wss"]


@contextmanager
def silent_peer(scheme: str) -> Iterator[tuple[str, socket.socket]]:
    """Give the URL of a listener that says nothing, and its socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", listener


async def come(ask: Callable[[], Any]) -> Any:
    """Return what *ask* gives once it need not wait; the loop goes on meanwhile."""
    while True:
        try:
            return ask()
        except BlockingIOError:
            await aio.sleep(0)


async def begun(listener: socket.socket) -> socket.socket:
    """Accept, and return the socket when the handshake has begun on it."""
    listener.setblocking(False)
    sock, _ = await come(listener.accept)
    sock.setblocking(False)
    assert await come(lambda: sock.recv(1))
    return cast("socket.socket", sock)


def read_to_the_end(sock: socket.socket) -> None:
    """Read on until the other side has ended, in whichever way."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scheme", URLS)
async def test_closing_ends_the_handshake(way: str, scheme: str) -> None:
    with silent_peer(scheme) as (url, listener):
        session = connect(url, connect_timeout=LONG)
        dialling = aio.ensure_future(session.create_connection(nursery=aio.nursery()))
        with await begun(listener) as sock:
            ended = getattr(session, way)()
            if ended is not None:
                await ended
            with pytest.raises(ClosedError):
                await dialling
            await session.wait_closed()
            await aio.wait_for(come(lambda: read_to_the_end(sock)), LONG / 2)


async def test_who_cancels_the_task_as_well_is_not_overheard() -> None:
    with silent_peer("tls") as (url, listener):
        session = connect(url, connect_timeout=LONG)
        dialling = aio.ensure_future(session.create_connection(nursery=aio.nursery()))
        with await begun(listener):
            session.close()
            session.close()
            dialling.cancel()
            with pytest.raises(aio.Cancelled):
                await dialling


async def test_the_task_that_has_dialled_goes_on_as_if_nobody_had_cancelled_it() -> None:
    told: list[str] = []

    async def dial(session: Any) -> None:
        with pytest.raises(ClosedError):
            await session.create_connection(nursery=aio.nursery())
        await turns()
        told.append("goes on")

    with silent_peer("tls") as (url, listener):
        session = connect(url, connect_timeout=LONG)
        dialling = aio.ensure_future(dial(session))
        with await begun(listener):
            session.close()
            await dialling
    assert told == ["goes on"]


@pytest.mark.parametrize("way", ["close", "abort"])
@pytest.mark.parametrize("scheme", URLS)
def test_so_in_blocking_code_from_another_thread(way: str, scheme: str) -> None:
    told: list[BaseException] = []

    def dial(session: Any) -> None:
        try:
            session.create_connection()
        except BaseException as exc:  # whatever it is, it is looked at below
            told.append(exc)

    with silent_peer(scheme) as (url, listener):
        session = blocking_connect(url, connect_timeout=LONG)
        thread = threading.Thread(target=dial, args=(session,))
        thread.start()
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(LONG / 2)
            assert sock.recv(1)
            getattr(session, way)()
            thread.join(LONG / 2)
            assert [type(exc) for exc in told] == [ClosedError]
            read_to_the_end(sock)
