# SPDX-License-Identifier: MIT
"""What goes beside the data on Unix sockets: the container, and datagrams with it on every runtime."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from tests import aio
from tests.rpc.sessions import until
from tests.runtimes.datagram_scene import RUNTIMES, Scene, unix
from tieline import LocalProtocolError, UnixStream
from tieline.runtimes.blocking import ancillary as blocking_ancillary
from tieline.runtimes.blocking import dialling as blocking_dialling
from tieline.runtimes.blocking.host import BlockingHost
from tieline.socket import SCMCredentials, SCMRights, SocketAncillary, UnixCredentials

pytestmark = pytest.mark.row("K19")

every_runtime = pytest.mark.parametrize("runtime", RUNTIMES, ids=str, indirect=True)
OURSELVES = UnixCredentials(os.getpid(), os.getuid(), os.getgid())
ROOM = 8192


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@contextmanager
def open_file(path: Path, text: str = "what is in it") -> Iterator[int]:
    path.write_text(text)
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def received(count: int, *, more: bytes = b"") -> SocketAncillary:
    """Return a container with so many descriptors, received."""
    container = SocketAncillary()
    ours = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
    raw = b"".join(fd.to_bytes(4, "little") for fd in ours)
    container.update_from_raw([(socket.SOL_SOCKET, socket.SCM_RIGHTS, raw + more)])
    return container


# --- the container ---------------------------------------------------------------------------------------------------


def test_what_is_added_is_told_and_sent_in_one_message_of_each_kind() -> None:
    container = SocketAncillary()
    assert not container
    assert container.as_raw() == []
    container.add_fds([3, 4])
    container.add_fds(iter([5]))
    container.add_fds([])
    container.add_creds()
    assert container
    assert list(container.messages()) == [SCMRights((3, 4)), SCMRights((5,)), SCMCredentials(OURSELVES)]
    (level, rights, fds), (_, credentials, ucred) = container.as_raw()
    assert (level, rights, credentials) == (socket.SOL_SOCKET, socket.SCM_RIGHTS, socket.SCM_CREDENTIALS)
    assert fds == b"".join(fd.to_bytes(4, "little") for fd in (3, 4, 5))
    assert len(ucred) == 12
    assert list(container.iter_fds()) == []  # ours are not given back
    container.clear()
    assert not container


def test_messages_are_matched_by_class() -> None:
    container = SocketAncillary()
    container.add_fds([7])
    container.add_creds(UnixCredentials(1, 2, 3))
    seen: list[object] = []
    for message in container.messages():
        match message:
            case SCMRights(fds):
                seen += fds
            case SCMCredentials(UnixCredentials(pid=pid, uid=uid)):
                seen += [pid, uid]
    assert seen == [7, 1, 2]


@pytest.mark.parametrize(("fd", "error"), [("3", TypeError), (True, TypeError), (-1, ValueError)])
def test_what_is_no_descriptor_is_refused(fd: Any, error: type[Exception]) -> None:
    container = SocketAncillary()
    with pytest.raises(error, match="descriptor"):
        container.add_fds([0, fd])
    assert not container


def test_more_than_one_message_takes_is_refused() -> None:
    container = SocketAncillary()
    container.add_fds(range(254))
    with pytest.raises(OSError, match="254 descriptors do not fit into one message: 253 do") as raised:
        container.as_raw()
    assert raised.value.errno == errno.EMSGSIZE


@pytest.mark.row("H71")
def test_descriptors_that_nobody_took_are_closed_with_the_container() -> None:
    for how in ("clear", "drop"):
        container = received(3)
        (rights,) = container._received
        assert isinstance(rights, SCMRights)
        taking = cast("Generator[int, None, None]", container.iter_fds())
        first = next(taking)
        assert first == rights.fds[0]
        taking.close()
        if how == "clear":
            container.clear()
            container.clear()
        del container, taking
        assert [is_open(fd) for fd in rights.fds] == [True, False, False]
        os.close(first)


def test_descriptors_that_were_taken_are_the_takers() -> None:
    container = received(2, more=b"\0")  # and a torn one, which is none
    fds = list(container.iter_fds())
    container.clear()
    assert all(map(is_open, fds))
    for fd in fds:
        os.close(fd)
    container = received(2)
    (message,) = container.messages()
    assert isinstance(message, SCMRights)
    del container
    assert all(map(is_open, message.fds))
    for fd in message.fds:
        os.close(fd)


def test_what_is_lost_is_told_until_that_is_allowed() -> None:
    container = received(1)
    container.update_from_raw([(socket.SOL_SOCKET, 999, b"unknown"), (41, 1, b"of another level")], is_truncated=True)
    assert "truncated" in repr(container)
    for take in (container.messages, container.iter_fds):
        with pytest.raises(OSError, match="some control data is lost") as raised:
            next(iter(take()))
        assert raised.value.errno == errno.EMSGSIZE
    (fd,) = container.iter_fds(allow_truncated=True)
    os.close(fd)


def test_one_container_takes_over_what_another_has() -> None:
    whole = SocketAncillary()
    part = received(1)
    whole.update(part)
    part.clear()
    (fd,) = whole.iter_fds()
    assert is_open(fd)
    os.close(fd)


# --- datagrams -------------------------------------------------------------------------------------------------------


@every_runtime
async def test_open_files_and_credentials_go_beside_a_datagram(tmp_path: Path, runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(str(tmp_path / "server"))
        server.transport.receive_ancillary(ROOM)
        server.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        client = await scene.opened(None, str(tmp_path / "server"))
        container = SocketAncillary()
        with open_file(tmp_path / "file") as fd:
            container.add_fds([fd])
            container.add_creds()
            client.transport.sendmsg(b"take these", container)
        await scene.until(lambda: server.got)
        assert server.told[-2:] == ["ancillary", "datagram"]
        assert server.got == [b"take these"]
        rights, credentials = sorted(server.ancillary[0].messages(), key=lambda one: type(one).__name__, reverse=True)
        assert credentials == SCMCredentials(OURSELVES)
        (theirs,) = rights.fds
        assert not os.get_inheritable(theirs)
        with os.fdopen(theirs) as file:
            assert file.read() == "what is in it"


@every_runtime
@pytest.mark.row("H71")
async def test_nothing_is_received_that_was_not_asked_for(tmp_path: Path, runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(str(tmp_path / "server"))
        before = len(os.listdir("/proc/self/fd"))
        with unix(tmp_path / "peer") as peer, open_file(tmp_path / "file") as fd:
            peer.connect(str(tmp_path / "server"))
            socket.send_fds(peer, [b"here are many"], [fd] * 250)
            await scene.until(lambda: server.got)
        assert server.ancillary == []
        assert len(os.listdir("/proc/self/fd")) == before
        # Asked for, and not taken.
        server.transport.receive_ancillary(ROOM)
        with unix(tmp_path / "second") as peer, open_file(tmp_path / "file") as fd:
            peer.connect(str(tmp_path / "server"))
            socket.send_fds(peer, [b"again"], [fd] * 250)
            await scene.until(lambda: server.ancillary)
        server.ancillary.clear()
        assert len(os.listdir("/proc/self/fd")) == before
        server.transport.receive_ancillary(0)


@every_runtime
@pytest.mark.parametrize("room", [1.5, 1 << 40])
async def test_a_room_that_is_no_size_ends_the_transport_and_is_not_tried_for_ever(
    tmp_path: Path, room: Any, runtime: Any
) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(str(tmp_path / "server"))
        server.transport.receive_ancillary(room)
        with unix(tmp_path / "peer") as peer:
            peer.connect(str(tmp_path / "server"))
            peer.send(b"x")
            await scene.until(server.transport.is_closing)
        assert server.got == []


@every_runtime
async def test_control_data_that_is_cut_is_told(tmp_path: Path, runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(str(tmp_path / "server"))
        server.transport.receive_ancillary(socket.CMSG_SPACE(4))
        with unix(tmp_path / "peer") as peer, open_file(tmp_path / "file") as fd:
            peer.connect(str(tmp_path / "server"))
            socket.send_fds(peer, [b"five"], [fd] * 5)
            peer.send(b"none")
            await scene.until(lambda: len(server.got) == 2)
        assert server.told[1:] == ["ancillary", "datagram", "datagram"]
        assert server.ancillary[0].is_truncated
        with pytest.raises(OSError, match="some control data is lost"):
            list(server.ancillary[0].iter_fds())
        server.ancillary.clear()


@every_runtime
async def test_what_must_wait_keeps_its_files_open(tmp_path: Path, runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with unix(tmp_path / "peer") as peer:
            client = await scene.opened(None, str(tmp_path / "peer"))
            sent = 0
            while client.transport.get_write_buffer_size() == 0:
                client.transport.sendto(b"x")
                sent += 1
            container = SocketAncillary()
            with open_file(tmp_path / "file") as fd:
                container.add_fds([fd])
                client.transport.sendmsg(b"take this", container)
            container.clear()
            got: list[bytes] = []
            fds: list[int] = []

            def read() -> bool:
                peer.setblocking(False)
                try:
                    while True:
                        data, taken, _, _ = socket.recv_fds(peer, 100, 5)
                        got.append(data)
                        fds.extend(taken)
                except BlockingIOError:
                    return len(got) == sent + 1

            await scene.until(read)
            assert got[-1] == b"take this"
            (theirs,) = fds
            with os.fdopen(theirs) as file:
                assert file.read() == "what is in it"


@every_runtime
async def test_what_does_not_fit_is_refused_and_udp_has_none(tmp_path: Path, runtime: Any) -> None:
    async with Scene(runtime) as scene:
        with unix(tmp_path / "peer") as peer:
            client = await scene.opened(None, str(tmp_path / "peer"))
            container = SocketAncillary()
            container.add_fds([peer.fileno()] * 254)
            with pytest.raises(OSError, match="do not fit") as raised:
                client.transport.sendmsg(b"x", container)
            assert raised.value.errno == errno.EMSGSIZE
            with pytest.raises(TypeError, match="bytes-like"):
                client.transport.sendmsg("x", SocketAncillary())
        udp = await scene.opened(("127.0.0.1", 0))
        with pytest.raises(ValueError, match="only Unix sockets"):
            udp.transport.sendmsg(b"x", SocketAncillary(), ("127.0.0.1", 9))


# --- streams ---------------------------------------------------------------------------------------------------------


class Streams:
    """Two ends of a Unix stream: a transport of the runtime, and a bare socket."""

    def __init__(self, runtime: Any, story: Any, peer: socket.socket) -> None:
        self.is_blocking = runtime.name == "blocking"
        self.transport: Any = story.transport
        self.peer = peer

    async def send(self, data: bytes, container: SocketAncillary, *, late: Any = None) -> None:
        """Send; *late* is called while that waits."""
        if self.is_blocking:
            await aio.gather(
                aio.to_thread(blocking_ancillary.sendmsg, self.transport, data, container, 10), _late(late)
            )
        else:
            await aio.gather(aio.module("ancillary").sendmsg(self.transport, data, container), _late(late))

    async def receive(self, size: int, room: int, *, late: Any = None) -> tuple[bytes, SocketAncillary]:
        if self.is_blocking:
            receiving = aio.to_thread(blocking_ancillary.recvmsg, self.transport, size, room, 10)
        else:
            receiving = aio.module("ancillary").recvmsg(self.transport, size, room)
        found, _ = await aio.gather(receiving, _late(late))
        data, container = found
        return data, container


async def _late(fn: Any) -> None:
    if fn is not None:
        for _ in range(5):
            await aio.sleep(0.001)
        fn()


@asynccontextmanager
async def streams(runtime: Any, path: Path) -> AsyncIterator[Streams]:
    story = StreamStory()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        host = BlockingHost()
        if runtime.name == "blocking":
            blocking_dialling.dial(lambda: story, UnixStream(path), host, timeout=10, shutdown_timeout=1)
        else:
            await aio.dial(lambda: story, UnixStream(path), timeout=10)
        peer, _ = listener.accept()
    with peer:
        peer.settimeout(10)
        yield Streams(runtime, story, peer)
        if runtime.name == "blocking":
            host.do(story.transport.abort)
        else:
            story.transport.abort()
            await until(lambda: story.lost)


class StreamStory(aio.Protocol):
    def __init__(self) -> None:
        self.transport: Any = None
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost = True


@every_runtime
async def test_open_files_go_beside_a_stream(tmp_path: Path, runtime: Any) -> None:
    async with streams(runtime, tmp_path / "s") as ends:
        container = SocketAncillary()
        with open_file(tmp_path / "file") as fd:
            container.add_fds([fd])
            await ends.send(b"first", container)
            data, fds, _, _ = socket.recv_fds(ends.peer, 100, 5)
            assert data == b"first"
            for one in fds:
                os.close(one)
            assert len(fds) == 1
            ends.transport.pause_reading()
            for late in (False, True):
                answer = partial(socket.send_fds, ends.peer, [b"answer"], [fd, fd])
                if not late:
                    answer()
                data, received_ = await ends.receive(100, ROOM, late=answer if late else None)
                assert data == b"answer"
                fds = list(received_.iter_fds())
                assert len(fds) == 2
                for one in fds:
                    os.close(one)
        ends.peer.shutdown(socket.SHUT_WR)
        data, received_ = await ends.receive(100, ROOM)
        assert data == b""
        assert not received_


@every_runtime
async def test_beside_a_stream_that_is_full_it_waits_and_the_rest_is_the_transports(
    tmp_path: Path, runtime: Any
) -> None:
    async with streams(runtime, tmp_path / "s") as ends:
        filler = socket.socket(fileno=os.dup(ends.transport.get_extra_info("socket").fileno()))
        full = 0
        with filler:
            while True:
                try:
                    full += filler.send(b"x" * 4096, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
        container = SocketAncillary()
        container.add_creds()
        ends.peer.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

        def read() -> None:
            left = full
            while left:
                left -= len(ends.peer.recv(left))

        await ends.send(b"y" * 100, container, late=read)
        data, raw, _, _ = ends.peer.recvmsg(200, ROOM)
        assert data == b"y" * 100
        assert [kind for _, kind, _ in raw] == [socket.SCM_CREDENTIALS]


@every_runtime
async def test_what_cannot_go_beside_a_stream_is_refused(tmp_path: Path, runtime: Any) -> None:
    async with streams(runtime, tmp_path / "s") as ends:
        with pytest.raises(ValueError, match="needs a byte"):
            await ends.send(b"", SocketAncillary())
        with pytest.raises(LocalProtocolError, match="while reading is paused"):
            await ends.receive(100, ROOM)
        if ends.is_blocking:
            ends.transport._pump.do(ends.transport.write, b"x" * 10_000_000)
        else:
            ends.transport.write(b"x" * 10_000_000)
        with pytest.raises(LocalProtocolError, match="when nothing is unsent"):
            await ends.send(b"x", SocketAncillary())
        if ends.is_blocking:
            ends.transport.pause_reading()
            with pytest.raises(TimeoutError, match="not sent anything"):
                blocking_ancillary.recvmsg(ends.transport, 100, ROOM, 0.001)
