# SPDX-License-Identifier: MIT
"""runtimes/unix_paths.py, on real files, mostly through asyncio's `listen`."""

import errno
import fcntl
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.runtimes.sockets import (
    Accepted,
    full_unix_listener,
    is_reached,
    open_sockets,
    stale,
    stop,
)
from tieline.endpoints.unix import UnixStream
from tieline.runtimes import unix_paths

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="what Linux does is what is shown")


# --- socket files ----------------------------------------------------------------------------------------------------


@pytest.mark.row("D5", "H70")
@pytest.mark.parametrize("mode", [0o600, 0o666, 0o640])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o177, 0o777])
async def test_the_mode_holds_before_anybody_can_connect_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, umask: int
) -> None:
    seen: list[int] = []
    real = socket.socket.listen

    def watched(sock: socket.socket, backlog: int = 0) -> None:
        seen.append(stat.S_IMODE(os.stat(sock.getsockname()).st_mode))
        real(sock, backlog)

    monkeypatch.setattr(socket.socket, "listen", watched)
    before = os.umask(umask)
    try:
        listener = await aio.listen(Accepted(), UnixStream(tmp_path / "s", mode=mode))
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert seen[0] == mode
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == mode
    await stop(listener)


@pytest.mark.row("D5", "H70")
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
async def test_the_file_of_a_dead_server_is_replaced_and_ours_removed(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "s"
    stale(path, kind)
    accepted = Accepted()
    listener = await aio.listen(accepted, UnixStream(path))
    assert listener.endpoints == (UnixStream(path),)
    assert await is_reached(listener.endpoints[0], accepted)
    await stop(listener)
    assert os.listdir(tmp_path) == []


def _live(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


def _datagram(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(path))
    return sock


def _link_to_stale(path: Path) -> None:
    stale(path.with_name("dead"))
    path.symlink_to("dead")


# What is in the way: (how it gets there, what the error says)
OBSTACLES: list[tuple[Callable[[Path], Any], str]] = [
    (_live, "a live server listens there"),
    (_datagram, "a live socket of another type is there"),
    (lambda path: path.write_text("precious"), "a regular file is there"),
    (lambda path: path.mkdir(), "a directory is there"),
    (lambda path: path.symlink_to("nowhere"), "a symbolic link is there"),
    (_link_to_stale, "a symbolic link is there"),
    (os.mkfifo, "a special file is there"),
]


@pytest.mark.row("D5", "H70")
@pytest.mark.parametrize(("put", "text"), OBSTACLES)
async def test_whatever_else_is_at_the_path_is_refused_and_left_alone(
    tmp_path: Path, put: Callable[[Path], Any], text: str
) -> None:
    path = tmp_path / "s"
    there = put(path)
    before = sorted((one, os.lstat(tmp_path / one)[:4]) for one in os.listdir(tmp_path))
    with pytest.raises(OSError, match=f"cannot listen on unix://{path}: {text}") as caught:
        await aio.listen(Accepted(), UnixStream(path))
    assert caught.value.errno == errno.EADDRINUSE
    assert sorted((one, os.lstat(tmp_path / one)[:4]) for one in os.listdir(tmp_path)) == before
    if isinstance(there, socket.socket):
        there.close()


@linux_only
@pytest.mark.row("H70")
async def test_a_server_too_busy_to_accept_is_alive(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with full_unix_listener(str(path)):
        with pytest.raises(OSError, match="a live server listens there"):
            await aio.listen(Accepted(), UnixStream(path))
        assert path.is_socket()


@pytest.mark.row("D5")
async def test_a_missing_folder_keeps_its_natural_error(tmp_path: Path) -> None:
    held = open_sockets()
    with pytest.raises(FileNotFoundError, match=f"cannot listen on unix://{tmp_path}/no/s: No such file"):
        await aio.listen(Accepted(), UnixStream(tmp_path / "no" / "s"))
    assert open_sockets() == held


@pytest.mark.row("D5", "H70")
async def test_only_our_own_file_is_removed_on_close(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listener = await aio.listen(Accepted(), UnixStream(path))
    path.unlink()
    accepted = Accepted()
    other = await aio.listen(accepted, UnixStream(path))
    await stop(listener)
    assert await is_reached(UnixStream(path), accepted)
    path.unlink()
    await stop(other)  # nothing to remove is no error


@pytest.mark.row("D5")
async def test_a_relative_path_is_removed_even_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    accepted = Accepted()
    listener = await aio.listen(accepted, UnixStream("s"))
    assert listener.endpoints == (UnixStream("s"),)
    assert await is_reached(UnixStream("s"), accepted)
    monkeypatch.chdir("/")
    await stop(listener)
    assert os.listdir(tmp_path) == []


@linux_only
@pytest.mark.row("D5")
async def test_an_abstract_name_has_no_file_and_is_free_after_closing(tmp_path: Path) -> None:
    endpoint = UnixStream(f"@{tmp_path}")
    for _ in range(2):
        accepted = Accepted()
        listener = await aio.listen(accepted, endpoint)
        assert listener.endpoints == (endpoint,)
        assert await is_reached(endpoint, accepted)
        with pytest.raises(OSError, match=f"cannot listen on unix:@{tmp_path}: Address already in use"):
            await aio.listen(accepted, endpoint)
        await stop(listener)
    assert os.listdir(tmp_path) == []


# --- races for a path ------------------------------------------------------------------------------------------------


@pytest.mark.row("D5", "H70")
def test_of_servers_racing_for_a_dead_one_s_path_one_wins_and_stays_reachable(tmp_path: Path) -> None:
    endpoint = UnixStream(tmp_path / "s")
    for _ in range(30):
        stale(endpoint.path)
        won: list[tuple[socket.socket, unix_paths.Claim | None]] = []
        refused: list[str] = []
        start = threading.Barrier(6)

        def race(
            won: list[tuple[socket.socket, unix_paths.Claim | None]] = won,
            refused: list[str] = refused,
            start: threading.Barrier = start,
        ) -> None:
            start.wait()
            while True:
                try:
                    won.append(unix_paths.listening_socket(endpoint))
                except BlockingIOError:
                    continue
                except OSError as exc:
                    refused.append(str(exc))
                return

        threads = [threading.Thread(target=race) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert all("a live server listens there" in text for text in refused)
        assert len(refused) == 5
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(endpoint.address)
        assert os.listdir(tmp_path) == ["s"]
        sock, claim = won[0]
        assert claim is not None
        claim.release()
        sock.close()


@pytest.mark.row("H70")
async def test_a_server_that_is_taking_the_path_is_waited_for(tmp_path: Path) -> None:
    # A file left by a server that died in the middle of it, and then one that holds it.
    lock = os.open(tmp_path / ".s.tieline-lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    waiting = aio.create_task(aio.listen(Accepted(), UnixStream(tmp_path / "s")))
    for _ in range(10):
        await aio.sleep(0)
    assert not waiting.done()
    assert not (tmp_path / "s").exists()
    os.close(lock)
    listener = await waiting
    assert os.listdir(tmp_path) == ["s"]
    await stop(listener)


@pytest.mark.row("H70")
async def test_a_path_that_is_being_taken_for_too_long_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_paths, "PATIENCE", 0.01)
    lock = os.open(tmp_path / ".s.tieline-lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    held = open_sockets()
    with pytest.raises(OSError, match=r"another server has been taking the path for 0\.01 s") as caught:
        await aio.listen(Accepted(), UnixStream(tmp_path / "s"))
    assert caught.value.errno == errno.EADDRINUSE
    assert open_sockets() == held
    os.close(lock)


@pytest.mark.row("H70")
def test_a_lock_file_that_its_holder_removed_meanwhile_is_nobody_s_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock

    def flock_too_late(descriptor: int, operation: int) -> None:
        os.unlink(tmp_path / ".s.tieline-lock")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock_too_late)
    with pytest.raises(BlockingIOError):
        unix_paths.listening_socket(UnixStream(tmp_path / "s"))
    assert os.listdir(tmp_path) == []


@pytest.mark.row("H70")
async def test_a_path_that_cannot_be_listened_on_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_sock: socket.socket, _backlog: int = 0) -> None:
        raise OSError(errno.ENOBUFS, "no room")

    held = open_sockets()
    monkeypatch.setattr(socket.socket, "listen", refuse)
    with pytest.raises(OSError, match="no room"):
        await aio.listen(Accepted(), UnixStream(tmp_path / "s"))
    assert os.listdir(tmp_path) == []
    assert open_sockets() == held
