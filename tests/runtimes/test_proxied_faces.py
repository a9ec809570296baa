# SPDX-License-Identifier: MIT
"""Everything that dials, through a chain of unlike proxies, on every runtime; and what its errors show when one fails.

What a proxy can be asked for, and how it may misbehave, is elsewhere: these two questions go to each face.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tieline
import tieline.blocking
from tests import aio
from tests.runtimes.proxied import SECRET, USER, each_runtime, nobody_resolves, shown_in_frames
from tests.runtimes.scripted_proxies import PATIENCE, Good, listening, sends
from tests.runtimes.sockets import Recorder, tcp_listener
from tieline.clients import AsyncTCPNetworkClient, AsyncUDPNetworkClient, TCPNetworkClient, UDPNetworkClient
from tieline.protocol import DatagramProtocol, StreamProtocol
from tieline.serializers import StringLineSerializer

__all__ = ["nobody_resolves"]

pytestmark = [each_runtime, pytest.mark.asyncio_only("each_runtime has them all, trio too")]

LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer())
TEXTS: DatagramProtocol[str] = DatagramProtocol(StringLineSerializer())
LINE = '{"jsonrpc":"2.0","id":0,"result":7}'  # what the server answers, whatever it is asked


@contextlib.contextmanager
def answering() -> Iterator[int]:
    """Give the port of a server that answers each line that it hears by the same one."""

    def serve(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.settimeout(PATIENCE)
            while b"\n" in peer.recv(65536):
                peer.sendall(LINE.encode() + b"\n")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with tcp_listener() as (listener, port):
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield port
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


# --- who dials: each by one call, with *proxy*, to *host* and *port* --------------------------------------------------


class Node(tieline.MessageSession):
    """Speaks in lines."""

    def default_framer(self) -> Any:
        return tieline.NewlineFramer(2**16)


class BlockingNode(tieline.blocking.MessageSession):
    """Speaks in lines."""

    def default_framer(self) -> Any:
        return tieline.NewlineFramer(2**16)


async def calls(proxy: Any, host: str, port: int) -> None:
    async with tieline.connect(f"tcp://{host}:{port}", proxy=proxy) as session:
        assert await session.call("any") == 7


async def session_by_itself(proxy: Any, host: str, port: int) -> None:
    session = tieline.ClientSession(host, port, proxy=proxy)
    await session.create_connection(nursery=aio.nursery())
    assert await session.call("any") == 7
    await session.aclose()


async def packets(proxy: Any, host: str, port: int) -> None:
    async with AsyncTCPNetworkClient((host, port), LINES, proxy=proxy) as client:
        await client.send_packet("any")
        assert await client.recv_packet() == LINE


async def packets_by_url(proxy: Any, host: str, port: int) -> None:
    async with tieline.connect(f"tcp://{host}:{port}", protocol=LINES, proxy=proxy) as client:
        await client.send_packet("any")
        assert await client.recv_packet() == LINE


async def streams(proxy: Any, host: str, port: int) -> None:
    reader, writer = await tieline.open_connection(host, port, proxy=proxy, nursery=aio.nursery())
    writer.write(b"any\n")
    assert await reader.readline() == LINE.encode() + b"\n"
    writer.close()
    await writer.wait_closed()


async def protocols(proxy: Any, host: str, port: int) -> None:
    transport, protocol = await tieline.create_connection(Recorder, host, port, proxy=proxy, nursery=aio.nursery())
    transport.abort()
    await protocol.lost


def blocking_calls(proxy: Any, host: str, port: int) -> None:
    with tieline.blocking.connect(f"tcp://{host}:{port}", proxy=proxy) as session:
        assert session.call("any") == 7


def blocking_session_by_itself(proxy: Any, host: str, port: int) -> None:
    with tieline.blocking.ClientSession(host, port, proxy=proxy) as session:
        assert session.call("any") == 7


def blocking_packets(proxy: Any, host: str, port: int) -> None:
    with TCPNetworkClient((host, port), LINES, proxy=proxy, connect_timeout=PATIENCE) as client:
        client.send_packet("any")
        assert client.recv_packet(timeout=PATIENCE) == LINE


def blocking_packets_by_url(proxy: Any, host: str, port: int) -> None:
    with tieline.blocking.connect(f"tcp://{host}:{port}", protocol=LINES, proxy=proxy) as client:
        client.send_packet("any")
        assert client.recv_packet(timeout=PATIENCE) == LINE


def blocking_streams(proxy: Any, host: str, port: int) -> None:
    reader, writer = tieline.blocking.open_connection(host, port, proxy=proxy)
    writer.write(b"any\n")
    writer.drain(timeout=PATIENCE)
    assert reader.readline(timeout=PATIENCE) == LINE.encode() + b"\n"
    writer.close()
    writer.wait_closed(timeout=PATIENCE)


def blocking_protocols(proxy: Any, host: str, port: int) -> None:
    transport, _ = tieline.blocking.create_connection(Recorder, host, port, proxy=proxy)
    transport.abort()
    transport.wait_closed(PATIENCE)


async def messages(proxy: Any, host: str, port: int) -> None:
    async with Node(host, port, proxy=proxy) as session:
        await session.send_message(b"any")


def blocking_messages(proxy: Any, host: str, port: int) -> None:
    with BlockingNode(host, port, proxy=proxy) as session:
        session.send_message(b"any")


async def datagrams(proxy: Any, host: str, port: int) -> None:
    async with AsyncUDPNetworkClient((host, port), TEXTS, proxy=proxy):
        pass


def blocking_datagrams(proxy: Any, host: str, port: int) -> None:
    UDPNetworkClient((host, port), TEXTS, proxy=proxy, connect_timeout=PATIENCE).close()


FACES: list[Callable[..., Any]] = [calls, session_by_itself, packets, packets_by_url, streams, protocols, messages]
BLOCKING: list[Callable[..., Any]] = [
    blocking_calls,
    blocking_session_by_itself,
    blocking_packets,
    blocking_packets_by_url,
    blocking_streams,
    blocking_protocols,
    blocking_messages,
]


async def dial(face: Callable[..., Any], *where: Any) -> None:
    done = face(*where)
    if done is not None:
        async with aio.timeout(PATIENCE):
            await done


@pytest.mark.row("P6", "P7", "H67")
async def test_every_face_goes_through_a_chain_of_unlike_proxies(runtime: Any, nobody_resolves: None) -> None:
    names = {"hop.example": "127.0.0.1", "target.example": "127.0.0.1"}
    known = (USER.encode(), SECRET.encode())
    hops = [Good(names, auth=known), Good(names, auth=known), Good(names)]
    with (
        answering() as port,
        listening(hops[0]) as one,
        listening(hops[1]) as two,
        listening(hops[2]) as three,
    ):
        chain = [
            f"socks5://{USER}:{SECRET}@127.0.0.1:{one.port}",
            tieline.HTTPConnectProxy(("hop.example", two.port), tieline.SOCKSUserAuth(USER, SECRET)),
            f"socks4a://hop.example:{three.port}",
        ]
        faces = BLOCKING if runtime.name == "blocking" else FACES
        for face in faces:
            await dial(face, chain, "target.example", port)
        wanted = [("hop.example", two.port), ("hop.example", three.port), ("target.example", port)]
        assert [hop.asked for hop in hops] == [[place] * len(faces) for place in wanted]


HOSTILE = [
    ("refuses the password", b"\x05\x02\x01\x01", tieline.SOCKSFailure),
    ("goes away behind the password", b"\x05\x02", tieline.SOCKSProtocolError),
    ("refuses the target", b"\x05\x02\x01\x00\x05\x05", tieline.SOCKSFailure),
]


@pytest.mark.row("P2", "P3", "P9", "H80")
@pytest.mark.parametrize(("replies", "kind"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
async def test_no_error_of_any_face_shows_a_secret_not_even_in_its_frames(
    replies: bytes, kind: type[Exception], runtime: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Tools that report errors show what each frame knows: the password is to be in none of ours, nor in a log."""

    def script(sock: socket.socket) -> None:
        sends(replies)(sock)
        with contextlib.suppress(OSError):
            sock.recv(65536)  # the password, so that what follows is an end and no reset

    caplog.set_level(logging.DEBUG)
    is_blocking = runtime.name == "blocking"
    with listening(script) as scripted:
        url = f"socks5://{USER}:{SECRET}@127.0.0.1:{scripted.port}"
        auth = tieline.SOCKSUserAuth(USER, SECRET)
        given = [url, tieline.SOCKSProxy(scripted.address, tieline.SOCKS5, auth)]
        for face in [*BLOCKING, blocking_datagrams] if is_blocking else [*FACES, datagrams]:
            for proxy in given:
                with pytest.raises(kind) as caught:
                    await dial(face, proxy, "127.0.0.1", 9)
                texts = shown_in_frames(caught.value) + f"{caught.value!r} {caught.value} {vars(caught.value)}"
                assert SECRET not in texts, face
                assert USER not in texts, face
    assert SECRET not in caplog.text
    assert USER not in caplog.text
