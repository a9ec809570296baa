# SPDX-License-Identifier: MIT
"""qemu's machine protocol (QMP), which is JSON but no JSON-RPC: in packets, and as messages without replies."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tieline import Command, ConnectionLost, JSONStreamFramer, MessageSession, ProcessEnded
from tieline.clients import AsyncUnixStreamClient, UnixStreamClient
from tieline.protocol import StreamProtocol
from tieline.serializers import JSONSerializer

pytestmark = [pytest.mark.peers, pytest.mark.row("F6")]

PATIENCE = 60.0
JSON: StreamProtocol[Any] = StreamProtocol(JSONSerializer())
WORDS = ["-machine", "none", "-nodefaults", "-display", "none"]


@pytest.fixture
def qemu(need) -> Path:
    path: Path = need("qemu-system-x86_64", "apt-get install qemu-system-x86, or make test-peers")
    return path


@contextmanager
def machine(qemu: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """Run a machine, killed at the end, and give the connection over which it speaks QMP.

    It listens on a path, as in `-qmp unix:...`; which exists when it has begun to.
    """
    path = folder / "qmp.sock"
    process = subprocess.Popen([str(qemu), *WORDS, "-qmp", f"unix:{path},server=on,wait=off"])
    try:
        sock = socket.socket(socket.AF_UNIX)
        while sock.connect_ex(str(path)):  # nothing else tells
            assert process.poll() is None, "qemu has ended"
        yield process, sock
    finally:
        process.kill()
        process.wait()


async def asked(client: AsyncUnixStreamClient[Any, Any], command: str, **arguments: object) -> Any:
    """Have a command carried out, and return what comes of it; events in between are passed over."""
    await client.send_packet({"execute": command, **({"arguments": arguments} if arguments else {})})
    while "event" in (answer := await client.recv_packet()):
        pass
    return answer


async def last_words(client: AsyncUnixStreamClient[Any, Any]) -> None:
    """Read events for ever: one may tell of the end, before or behind the answer to the order to end."""
    while await client.recv_packet():
        pass


async def test_packets_carry_it(qemu: Path, tmp_path: Path) -> None:
    with machine(qemu, tmp_path) as (process, sock):
        async with AsyncUnixStreamClient(sock, JSON) as client, aio.timeout(PATIENCE):
            assert (await client.recv_packet())["QMP"]["version"]["qemu"]["major"] >= 7
            assert await asked(client, "qmp_capabilities") == {"return": {}}
            assert (await asked(client, "query-status"))["return"]["running"] is True
            commands = (await asked(client, "query-commands"))["return"]  # over 10 KB
            assert {"name": "quit"} in commands
            assert (await asked(client, "grüße"))["error"]["class"] == "CommandNotFound"
            assert await asked(client, "quit") == {"return": {}}
            with pytest.raises(ConnectionLost):
                await last_words(client)
        assert process.wait(PATIENCE) == 0


def test_packets_carry_it_in_blocking_code(qemu: Path, tmp_path: Path) -> None:
    with machine(qemu, tmp_path) as (process, sock), UnixStreamClient(sock, JSON) as client:

        def ask(command: str) -> Any:
            client.send_packet({"execute": command})
            while "event" in (answer := client.recv_packet(timeout=PATIENCE)):
                pass
            return answer

        assert "QMP" in client.recv_packet(timeout=PATIENCE)
        assert ask("qmp_capabilities") == {"return": {}}
        assert (ask("query-status"))["return"]["running"] is True
        assert ask("quit") == {"return": {}}

        def last_words() -> None:
            while client.recv_packet(timeout=PATIENCE):
                pass

        with pytest.raises(ConnectionLost):
            last_words()
        assert process.wait(PATIENCE) == 0


async def test_whoever_waits_for_a_packet_hears_that_it_was_killed(qemu: Path, tmp_path: Path) -> None:
    with machine(qemu, tmp_path) as (process, sock):
        async with AsyncUnixStreamClient(sock, JSON) as client:
            await client.recv_packet()
            waiting = aio.create_task(client.recv_packet())
            await aio.sleep(0)
            process.kill()
            with pytest.raises(ConnectionLost):
                await aio.wait_for(waiting, PATIENCE)


class QMP(MessageSession):
    """The same protocol as messages: JSON texts one behind the other."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, framer=JSONStreamFramer, **given)
        self.heard: list[Any] = []
        self._changed = aio.Event()

    def handle_message(self, message: bytes) -> None:
        self.heard.append(json.loads(message))
        self._changed.set()

    async def heard_all(self, count: int) -> list[Any]:
        async with aio.timeout(PATIENCE):
            while len(self.heard) < count:
                self._changed = aio.Event()
                await self._changed.wait()
        return self.heard


async def test_a_session_of_messages_speaks_it_with_a_child(qemu: Path) -> None:
    async with QMP(Command([str(qemu), *WORDS, "-qmp", "stdio"], grace=10)) as session:
        assert "QMP" in (await session.heard_all(1))[0]
        await session.send_message(b'{"execute": "qmp_capabilities"}')
        await session.send_message(b'{"execute": "query-status", "id": [1, "any"]}')
        _, first, second = await session.heard_all(3)
        assert first == {"return": {}}
        assert second["id"] == [1, "any"]
        session.get_extra_info("subprocess").kill()
        async with aio.timeout(PATIENCE):
            await session.wait_closed()
        reason = session.close_reason
        assert isinstance(reason, ProcessEnded)
        assert "was ended by SIGKILL" in str(reason)
