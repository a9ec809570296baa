# SPDX-License-Identifier: MIT
"""What streams on trio do that has no like on asyncio: nurseries, checkpoints, errors of ours."""

from typing import Any

import pytest
import trio
import trio.testing

import tieline
from tests.rpc.sessions import TCP_URL
from tieline.exceptions import IncompleteReadError, ReadLimitError
from tieline.runtimes.trio.readers import StreamReader

pytestmark = pytest.mark.row("T8")


def test_a_cancelled_nursery_ends_callbacks_and_connections() -> None:
    told: list[str] = []

    async def waits(reader: Any, writer: Any) -> None:
        try:
            await reader.read()
        finally:
            told.append("ended")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = await tieline.start_server(waits, "127.0.0.1", 0, nursery=nursery)
            _, writer = await tieline.open_connection(*server.sockets[0].getsockname(), nursery=nursery)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert not server.is_serving()
        assert writer.is_closing()

    trio.run(main)
    assert told == ["ended"]


def test_a_server_that_never_started_ends_with_its_nursery() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = await tieline.start_server(print, TCP_URL, start_serving=False, nursery=nursery)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert server.sockets == ()

    trio.run(main)


@pytest.mark.parametrize("method", ["read", "readline", "readuntil", "readexactly"])
def test_each_read_is_a_checkpoint(method: str) -> None:
    async def main() -> None:
        reader = StreamReader()
        reader.feed_data(b"abc\n")
        with trio.testing.assert_checkpoints():
            await getattr(reader, method)(2) if method in ("read", "readexactly") else await getattr(reader, method)()

    trio.run(main)


def test_a_read_to_the_end_that_is_cancelled_takes_nothing() -> None:
    async def main() -> None:
        reader = StreamReader(4)
        reader.feed_data(b"one ")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.read)
            await trio.testing.wait_all_tasks_blocked()
            reader.feed_data(b"two")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        reader.feed_eof()
        assert await reader.read() == b"one two"

    trio.run(main)


def test_several_separators() -> None:
    async def main() -> None:
        reader = StreamReader(10)
        reader.feed_data(b"a\r\nb\nc\r")
        reader.feed_eof()
        assert await reader.readuntil((b"\n", b"\r\n")) == b"a\r\n"
        assert await reader.readuntil((b"\r\n", b"\n")) == b"b\n"
        with pytest.raises(IncompleteReadError):
            await reader.readuntil([b"\r\n", b"\n"])

    trio.run(main)


def test_what_cannot_be_asked_for() -> None:
    async def main() -> None:
        reader = StreamReader()
        for separator in (b"", (), (b"x", b"")):
            with pytest.raises(ValueError, match="at least one byte"):
                await reader.readuntil(separator)
        with pytest.raises(ValueError, match="0 or more"):
            await reader.readexactly(-1)
        reader.feed_eof()
        with pytest.raises(RuntimeError, match="after feed_eof"):
            reader.feed_data(b"x")
        with pytest.raises(ValueError, match="over 0"):
            StreamReader(0)

    trio.run(main)


def test_the_errors_are_of_the_kinds_that_asyncios_are() -> None:
    incomplete = IncompleteReadError(b"ab", 5)
    assert isinstance(incomplete, EOFError)
    assert (incomplete.partial, incomplete.expected) == (b"ab", 5)
    assert str(incomplete) == "the stream ended after 2 bytes, and 5 bytes had not come"
    assert str(IncompleteReadError(b"", None)) == "the stream ended after 0 bytes, and a separator had not come"
    overrun = ReadLimitError("too far", 9)
    assert isinstance(overrun, ValueError)
    assert overrun.consumed == 9
