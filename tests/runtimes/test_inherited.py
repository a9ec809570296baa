# SPDX-License-Identifier: MIT
"""Sockets that were handed over: what the environment says, whom it means, and what is done with the descriptors."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

import tieline
from tieline.runtimes import inherited

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors are handed over on Unix")

FIRST = 700  # far above what the tests have open: the real one, 3, is taken


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Hand two listening sockets over to this process, and give their ports."""
    ports = []
    for index in range(2):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            ports.append(sock.getsockname()[1])
            os.dup2(sock.fileno(), FIRST + index, inheritable=True)
    monkeypatch.setattr(inherited, "_FIRST", FIRST)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.delenv("LISTEN_FDNAMES", raising=False)
    yield ports
    for index in range(2):
        try:
            os.close(FIRST + index)
        except OSError:
            continue  # it was closed, as it should be


def closed(socks: list[socket.socket]) -> list[int]:
    """Close the sockets and return their ports."""
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.mark.row("D5")
def test_all_are_taken_over_once_and_are_not_inherited_further(handed: list[int]) -> None:
    socks = tieline.inherited_sockets()
    assert [sock.fileno() for sock in socks] == [FIRST, FIRST + 1]
    assert not any(sock.get_inheritable() for sock in socks)
    assert not {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} & set(os.environ)
    assert tieline.inherited_sockets() == []
    assert closed(socks) == handed


@pytest.mark.row("D5")
@pytest.mark.parametrize("pid", [None, "", "1", "x"])
def test_what_is_meant_for_another_process_is_left_alone(
    handed: list[int], pid: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pid is None:
        monkeypatch.delenv("LISTEN_PID")
    else:
        monkeypatch.setenv("LISTEN_PID", pid)
    assert tieline.inherited_sockets() == []
    assert os.environ["LISTEN_FDS"] == "2"
    assert is_open(FIRST)
    assert os.get_inheritable(FIRST)


@pytest.mark.row("D5")
def test_those_of_a_name_are_kept_and_the_others_closed(handed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDNAMES", "calls:metrics")
    socks = tieline.inherited_sockets("metrics")
    assert not is_open(FIRST)
    assert closed(socks) == handed[1:]


def test_without_names_they_are_unknown(handed: list[int]) -> None:
    assert closed(tieline.inherited_sockets("unknown")) == handed


@pytest.mark.parametrize("count", ["", "two", "-1", "٢"])
def test_a_count_that_is_none_is_refused(handed: list[int], count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", count)
    with pytest.raises(ValueError, match=r"^LISTEN_FDS must be a number of descriptors, not '"):
        tieline.inherited_sockets()


def test_too_few_names_are_refused(handed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDNAMES", "calls")
    with pytest.raises(ValueError, match=r"^LISTEN_FDNAMES has 1 names for 2 descriptors$"):
        tieline.inherited_sockets()


@pytest.mark.parametrize("what", ["closed", "file"])
def test_what_is_no_socket_is_told_and_the_others_closed(handed: list[int], what: str) -> None:
    os.close(FIRST + 1)
    if what == "file":
        file = os.open(os.devnull, os.O_RDONLY)
        os.dup2(file, FIRST + 1)
        os.close(file)
    with pytest.raises(OSError, match=f"descriptor {FIRST + 1} was to be a socket: "):
        tieline.inherited_sockets()
    assert not is_open(FIRST)


@pytest.mark.row("D5")
def test_a_program_that_is_handed_one_serves_on_it() -> None:
    program = (
        "import asyncio, tieline\n"
        "async def main():\n"
        "    (sock,) = tieline.inherited_sockets()\n"
        "    methods = tieline.Methods()\n"
        "    methods.method(name='add')(lambda a, b: a + b)\n"
        "    async with tieline.Server(lambda: tieline.ServerSession(methods=methods), sock=sock) as server:\n"
        "        async with tieline.connect(server.url) as session:\n"
        "            print(server.url, await session.call('add', 1, 2))\n"
        "asyncio.run(main())\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as sock:
        fd = sock.fileno()
        starter = (
            "import os, sys\n"
            f"os.dup2({fd}, 3)\n"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
            "os.execv(sys.executable, [sys.executable, '-W', 'error', '-c', sys.argv[1]])\n"
        )
        argv = [sys.executable, "-c", starter, program]
        done = subprocess.run(argv, pass_fds=[fd], capture_output=True, text=True, timeout=60, check=False)
        port = sock.getsockname()[1]
    assert (done.returncode, done.stdout, done.stderr) == (0, f"tcp://127.0.0.1:{port} 3\n", "")
