# SPDX-License-Identifier: MIT
"""Cases 32-36 and others, turned round: a server that is a script answers our client in every wrong way.

Every call ends once: by its own answer, by an error, by its deadline or by `ConnectionLost`; and afterwards the session
is usable, or closed.
"""

import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

import tieline
from tests import aio
from tests.attacks.conftest import ways
from tests.attacks.table import exactly
from tests.certificates import Certificates

Script = Callable[[aio.StreamReader, aio.StreamWriter], Awaitable[object]]
Connected = Callable[..., AbstractAsyncContextManager[tieline.ClientSession]]

GOOD = b'{"jsonrpc":"2.0","result":"good","id":0}\n'
NEXT = b'{"jsonrpc":"2.0","result":"next","id":1}\n'


@asynccontextmanager
async def scripted(script: Script, certificate: str | None = None) -> AsyncIterator[str]:
    """Serve connections by a script, with a certificate over the loop's own TLS, and give the URL."""
    running: set[aio.Task[Any]] = set()

    async def serve(reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
        task = aio.current_task()
        assert task is not None
        running.add(task)
        try:
            await script(reader, writer)
            await writer.drain()
            await reader.read()  # until the client goes
        except (ConnectionError, aio.CancelledError):
            pass
        except RuntimeError as exc:  # how uvloop says that the connection is closed
            if "the handler is closed" not in str(exc):
                raise
        except OSError as exc:  # and how a socket of trio does
            if exc.errno != errno.EBADF:
                raise
        finally:
            writer.close()
            running.discard(task)

    context = tieline.TLS(certificate=certificate).server_context() if certificate else None
    server = await aio.start_server(serve, "127.0.0.1", 0, limit=1 << 24, ssl=context)
    try:
        yield f"{'tls' if certificate else 'tcp'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await aio.gather(*running, return_exceptions=True)


@pytest.fixture
def connected(transport: str, certificates: Certificates) -> Connected:
    """Give `connected(script, limits=None)`: a session with a server that is a script, over the test's transport."""

    @asynccontextmanager
    async def connected(script: Script, limits: tieline.Limits | None = None) -> AsyncIterator[tieline.ClientSession]:
        is_tls = transport == "tls"
        tls = tieline.TLS(ca=certificates.ca) if is_tls else None
        async with (
            scripted(script, certificates.server if is_tls else None) as url,
            tieline.connect(url, tls=tls, limits=limits) as session,
        ):
            yield session

    return connected


def answering(*lines: bytes) -> Script:
    """Return a script that answers each line of the client's with the next of *lines*."""

    async def script(reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
        for line in lines:
            await reader.readline()
            writer.write(line)

    return script


# --- answers that fit no call, before the one that does --------------------------------------------------------------

IGNORED: list[tuple[int, bytes]] = [
    (32, b'{"jsonrpc":"2.0","result":1,"id":99}\n' * 1000),
    (32, b'{"jsonrpc":"2.0","result":1,"id":null}\n' * 1000),
    (32, b'{"jsonrpc":"2.0","error":{"code":1,"message":"m"},"id":null}\n' * 1000),
    (33, b'{"jsonrpc":"2.0","result":1,"id":[]}\n'),
    (33, b'{"jsonrpc":"2.0","result":1,"id":{}}\n'),
    (33, b'{"jsonrpc":"2.0","result":1,"id":[[]]}\n'),
    (33, b'{"jsonrpc":"2.0","error":{"code":1,"message":"m"},"id":[]}\n'),
    (33, b"{}\n"),
    (34, b'{"jsonrpc":"2.0","result":1,"id":0.0}\n'),
    (34, b'{"jsonrpc":"2.0","result":1,"id":-0.0}\n'),
    (34, b'{"jsonrpc":"2.0","result":1,"id":false}\n'),
    (34, b'{"jsonrpc":"2.0","result":1,"id":"0"}\n'),
    (34, b'{"jsonrpc":"2.0","error":{"code":1,"message":"m"},"id":false}\n'),
    (36, b'[{"jsonrpc":"2.0","result":1,"id":1},{"jsonrpc":"2.0","result":1,"id":"a"}]\n'),
    (36, b'[{"jsonrpc":"2.0","result":1,"id":null},{"jsonrpc":"2.0","result":1,"id":[0]}]\n'),
    (19, b'{"jsonrpc":"2.0","result":%b%b,"id":0}\n' % (b"[" * 100_000, b"]" * 100_000)),
    (19, b'{"jsonrpc":"2.0","result":%b1%b,"id":0}\n' % (b'{"a":' * 100_000, b"}" * 100_000)),
    (21, b'{"jsonrpc":"2.0","result":%b,"id":0}\n' % (b"9" * 5000)),
    (23, b'{"jsonrpc":"2.0","result":NaN,"id":0}\n'),
    (25, b'{"jsonrpc":"2.0","result":"\xff","id":0}\n'),
    (10, b"\xff\xfe\x00garbage\r\n\n\n"),
]


@pytest.mark.row("H19", "H32", "H33", "H34", "H36", "J8")
@pytest.mark.parametrize(("number", "noise"), IGNORED, ids=[f"{number} {noise[:60]!r}" for number, noise in IGNORED])
@ways("tcp", on_trio=True)
async def test_what_answers_no_call_is_passed_over(number: int, noise: bytes, connected: Connected) -> None:
    async with connected(answering(noise + GOOD, NEXT)) as session:
        assert await session.call("any", timeout=10) == "good"
        assert session.stats.pending == 0


@pytest.mark.row("H19")
@ways("tcp", on_trio=True)
async def test_an_answer_nested_as_deep_as_may_be_is_read(connected: Connected) -> None:
    line = b'{"jsonrpc":"2.0","result":%b%b,"id":0}\n' % (b"[" * 127, b"]" * 127)
    async with connected(answering(line)) as session:
        value = await session.call("any", timeout=10)
        depth = 0
        while value:
            depth, value = depth + 1, value[0]
        assert depth == 126


@pytest.mark.row("H32", "S7")
@ways("tcp", on_trio=True)
async def test_the_late_answer_to_a_call_that_timed_out_is_dropped(connected: Connected) -> None:
    async def script(reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
        first, second = await reader.readline(), await reader.readline()
        assert b'"id":0' in first
        assert b'"id":1' in second
        writer.write(GOOD * 200 + NEXT)

    async with connected(script) as session:
        with pytest.raises(TimeoutError):
            await session.call("any", timeout=0.01)
        assert await session.call("any", timeout=10) == "next"
        assert session.stats.errors == 0


# --- answers that are none -------------------------------------------------------------------------------------------

BAD_ANSWERS: list[bytes] = [
    b'{"jsonrpc":"2.0","result":1,"error":{"code":1,"message":"m"},"id":0}\n',
    b'{"jsonrpc":"2.0","result":null,"error":null,"id":0}\n',
    b'{"jsonrpc":"2.0","error":{"code":"x","message":"m"},"id":0}\n',
    b'{"jsonrpc":"2.0","error":{"code":1.5,"message":"m"},"id":0}\n',
    b'{"jsonrpc":"2.0","error":{"code":true,"message":"m"},"id":0}\n',
    b'{"jsonrpc":"2.0","error":{"code":1},"id":0}\n',
    b'{"jsonrpc":"2.0","error":{"message":"m"},"id":0}\n',
    b'{"jsonrpc":"2.0","error":{"code":1,"message":null},"id":0}\n',
    b'{"jsonrpc":"2.0","error":"text","id":0}\n',
    b'{"jsonrpc":"2.0","error":[],"id":0}\n',
    b'{"jsonrpc":"2.0","error":null,"id":0}\n',
    b'{"jsonrpc":"1.0","result":1,"id":0}\n',
    b'{"result":1,"id":0}\n',
]


@pytest.mark.row("H35")
@pytest.mark.parametrize("line", BAD_ANSWERS)
@ways("tcp", on_trio=True)
async def test_an_answer_of_the_wrong_shape_ends_its_call(line: bytes, connected: Connected) -> None:
    async with connected(answering(line, NEXT)) as session:
        with pytest.raises(tieline.RemoteProtocolError):
            await session.call("any", timeout=10)
        assert await session.call("any", timeout=10) == "next"


@pytest.mark.row("H35")
@pytest.mark.parametrize("second", [GOOD.replace(b"good", b"late"), *BAD_ANSWERS[:3]])
@ways("tcp", on_trio=True)
async def test_the_first_of_two_answers_counts(second: bytes, connected: Connected) -> None:
    async with connected(answering(GOOD + second, NEXT)) as session:
        assert await session.call("any", timeout=10) == "good"
        assert await session.call("any", timeout=10) == "next"


# --- batches ---------------------------------------------------------------------------------------------------------


def ok(id: object) -> bytes:
    return b'{"jsonrpc":"2.0","result":"r%b","id":%b}' % (str(id).encode(), str(id).encode())


LATE = TimeoutError
BATCHES: list[tuple[str, bytes, list[object]]] = [
    ("in any order", b"[%b,%b,%b]\n" % (ok(2), ok(0), ok(1)), ["r0", "r1", "r2"]),
    ("as several arrays", b"[%b]\n[%b,%b]\n" % (ok(2), ok(0), ok(1)), ["r0", "r1", "r2"]),
    ("one by one", b"%b\n%b\n%b\n" % (ok(2), ok(0), ok(1)), ["r0", "r1", "r2"]),
    ("a subset", b"[%b]\n" % ok(1), [LATE, "r1", LATE]),
    ("a superset", b"[%b,%b,%b,%b]\n" % (ok(0), ok(7), ok(1), ok(2)), ["r0", "r1", "r2"]),
    (
        "with ids of mixed types",
        b'[%b,%b,{"jsonrpc":"2.0","result":1,"id":"a"}]\n' % (ok(1), ok(0)),
        ["r0", "r1", LATE],
    ),
    ("with a null id", b'[%b,{"jsonrpc":"2.0","result":1,"id":null},%b]\n' % (ok(1), ok(0)), ["r0", "r1", LATE]),
    ("with lists as ids", b'[{"jsonrpc":"2.0","result":1,"id":[2]},%b,%b]\n' % (ok(1), ok(0)), ["r0", "r1", LATE]),
    ("one id twice", b"[%b,%b,%b]\n" % (ok(1), ok(1), ok(0)), ["r0", "r1", LATE]),
    ("with junk", b"[%b,7,null,[],{},%b,%b]\n" % (ok(0), ok(1), ok(2)), ["r0", "r1", "r2"]),
    (
        "a bad member",
        b'[%b,{"jsonrpc":"2.0","error":"x","id":1},%b]\n' % (ok(0), ok(2)),
        ["r0", tieline.RemoteProtocolError, "r2"],
    ),
    (
        "refused as a whole",
        b'{"jsonrpc":"2.0","error":{"code":-32600,"message":"no"},"id":null}\n',
        [tieline.RPCError, tieline.RPCError, tieline.RPCError],
    ),
]


@pytest.mark.row("H36", "J10")
@pytest.mark.parametrize(("name", "answer", "wanted"), BATCHES, ids=[row[0] for row in BATCHES])
@ways("tcp", on_trio=True)
async def test_answers_of_a_batch_are_matched_by_member(
    name: str, answer: bytes, wanted: list[object], connected: Connected
) -> None:
    async with connected(answering(answer, ok(3) + b"\n")) as session:
        async with session.batch(timeout=0.1 if LATE in wanted else 10) as batch:
            for _ in range(3):
                batch.add_request("any")
        shown = [type(one) if isinstance(one, BaseException) else one for one in batch.results]
        assert all(seen is want or exactly(seen, want) for seen, want in zip(shown, wanted, strict=True)), shown
        assert await session.call("any", timeout=10) == "r3"
        assert session.stats.pending == 0


# --- ends ------------------------------------------------------------------------------------------------------------


async def reset(_reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
    writer.transport.abort()


async def half_answer(reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
    await reader.readline()
    writer.write(GOOD[:-8])
    writer.close()


async def close(reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
    await reader.readline()
    writer.close()


async def half_close(reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
    await reader.readline()
    writer.write_eof() if writer.can_write_eof() else writer.close()


async def endless(reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
    await reader.readline()
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()
        await aio.sleep(0)  # on trio a writer whose peer has left takes everything, and waits for nothing


@pytest.mark.row("S7")
@pytest.mark.parametrize("script", [reset, half_answer, close, half_close, endless], ids=lambda script: script.__name__)
@ways("tcp", on_trio=True)
async def test_whatever_ends_the_connection_the_caller_is_told(script: Script, connected: Connected) -> None:
    limits = tieline.Limits(max_message=1_000_000, linger=0.1)
    async with aio.timeout(10), connected(script, limits) as session:
        with pytest.raises(tieline.ConnectionLost):
            await session.call("any", timeout=None)
        assert session.stats.pending == 0
        with pytest.raises(tieline.ConnectionLost):
            await session.call("any", timeout=None)


@pytest.mark.row("H6")
async def test_a_call_over_the_limit_is_not_sent() -> None:
    methods = tieline.Methods()

    @methods.method
    def size_of(text: str) -> int:
        return len(text)

    limits = tieline.Limits(max_message=1000)
    async with (
        tieline.serve(methods, "tcp://127.0.0.1:0") as server,
        tieline.connect(server.url, limits=limits) as session,
    ):
        sent = session.stats.bytes_out
        for attempt in (session.call("size_of", "x" * 1000), session.notify("size_of", "x" * 1000)):
            with pytest.raises(tieline.OutgoingMessageTooLarge):
                await attempt
        with pytest.raises(tieline.OutgoingMessageTooLarge):
            session.send_request("size_of", ["x" * 1000])
        async with session.batch() as batch:
            batch.add_request("size_of", ["x" * 100])
        assert batch.results == (100,)
        big = session.new_batch()
        for _ in range(10):
            big.add_request("size_of", ["x" * 100])
        with pytest.raises(tieline.OutgoingMessageTooLarge):
            session.send_batch(big)
        assert session.stats.bytes_out - sent < 250
        assert session.stats.pending == 0
        assert await session.call("size_of", "x" * 800) == 800
