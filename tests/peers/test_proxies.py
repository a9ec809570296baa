# SPDX-License-Identifier: MIT
"""Real proxies on loopback: microsocks, ssh -D, dante and tinyproxy, each as it really is."""

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests import aio
from tests.peers.our_side import our_methods
from tests.peers.programs import free_port, running
from tests.rpc.sessions import until
from tests.runtimes.datagram_scene import RUNTIMES, Scene, udp
from tests.runtimes.sockets import closed_port, name
from tieline import SOCKS4, SOCKS5, HTTPConnectError, SOCKS4a, SOCKSFailure, SOCKSProtocolError, SOCKSProxy

pytestmark = [pytest.mark.peers, pytest.mark.row("P8")]

LOCAL = "127.0.0.1"

# Starts a proxy with the given options, and gives its port.
Start = Callable[..., AbstractAsyncContextManager[int]]


@asynccontextmanager
async def _listening(port: int, *command: str | Path) -> AsyncIterator[int]:
    """Run a program that does not say when it listens on *port*, and give that when it does."""
    async with running(*command):
        await until(lambda: _is_open(port), f"{command[0]} does not listen")  # nothing else tells
        yield port


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        # A socket may connect to itself where nobody listens.
        return probe.connect_ex((LOCAL, port)) == 0 and probe.getsockname() != probe.getpeername()


@pytest.fixture
def microsocks(need) -> Start:
    program = need("microsocks", "apt-get install microsocks, or make test-peers")

    def start(*options: str) -> AbstractAsyncContextManager[int]:
        port = free_port()
        return _listening(port, program, "-i", LOCAL, "-p", str(port), *options)

    return start


@pytest.fixture
def tinyproxy(need, tmp_path: Path) -> Start:
    program = need("tinyproxy", "apt-get install tinyproxy, or make test-peers")

    def start(*options: str) -> AbstractAsyncContextManager[int]:
        port, settings = free_port(), tmp_path / "tinyproxy.conf"
        settings.write_text("\n".join([f"Port {port}", f"Listen {LOCAL}", "Timeout 60", *options, ""]))
        return _listening(port, program, "-d", "-c", settings)

    return start


@pytest.fixture
def dante(need, tmp_path: Path) -> Start:
    program = need("danted", "apt-get install dante-server, or make test-peers")

    def start(*rules: str) -> AbstractAsyncContextManager[int]:
        port, settings = free_port(), tmp_path / "danted.conf"
        lines = [
            "logoutput: /dev/null",
            f"internal: {LOCAL} port = {port}",
            "external: lo",
            "clientmethod: none",
            "socksmethod: none",
            "client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }",
            *rules,
            "socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }",
            "",
        ]
        settings.write_text("\n".join(lines))
        return _listening(port, program, "-f", settings)

    return start


@pytest.fixture
def ssh(need, tmp_path: Path) -> Start:
    server = need("sshd", "apt-get install openssh-server, or make test-peers")
    client = need("ssh", "apt-get install openssh-client, or make test-peers")

    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it gives up its rights; a service makes it
    keys = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys], check=True)
    settings = tmp_path / "sshd_config"
    known = [f"HostKey {keys}", f"AuthorizedKeysFile {keys}.pub", "PidFile none", "StrictModes no", "UsePAM no"]
    settings.write_text("\n".join([*known, "PermitRootLogin prohibit-password", ""]))
    trust = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]

    @asynccontextmanager
    async def start() -> AsyncIterator[int]:
        at, port = free_port(), free_port()
        serving = (server, "-D", "-e", "-f", settings, "-p", str(at), "-o", f"ListenAddress={LOCAL}")
        dialling = (client, "-F", "none", "-q", "-N", "-D", f"{LOCAL}:{port}", "-i", keys, "-p", str(at), *trust, LOCAL)
        async with _listening(at, *serving), _listening(port, *dialling):
            yield port

    return start


async def calls(proxy: Any, server: tieline.Server, host: str) -> None:
    """See that calls go through *proxy*, large ones too."""
    port = server.url.rpartition(":")[2]
    async with tieline.connect(f"tcp://{host}:{port}", our_methods(), proxy=proxy) as session:
        assert await session.call("ask_back", 21) == 42
        assert await session.call("echo", "x" * 1_000_000) == "x" * 1_000_000


async def refused(proxy: Any, port: int, host: str = LOCAL) -> OSError:
    with pytest.raises((tieline.SOCKSError, HTTPConnectError)) as caught:
        await tieline.connect(f"tcp://{host}:{port}", proxy=proxy).create_connection(nursery=aio.nursery())
    assert isinstance(caught.value, OSError)
    return caught.value


async def test_microsocks(microsocks: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = name(monkeypatch, "unused")
    async with tieline.serve(our_methods(), f"tcp://{LOCAL}:0") as server, microsocks() as port:
        for host in (LOCAL, "localhost"):
            await calls(f"socks5://{LOCAL}:{port}", server, host)
        with closed_port() as closed:
            error = await refused(f"socks5://{LOCAL}:{port}", closed)
        assert (type(error), error.code) == (SOCKSFailure, 5)  # type: ignore[attr-defined]  # just shown
        assert type(await refused(f"socks4://{LOCAL}:{port}", 9)) is SOCKSProtocolError
        assert await SOCKSProxy.auto_detect_address((LOCAL, port), None) == SOCKSProxy((LOCAL, port), SOCKS5)
    assert asked == []


async def test_microsocks_reaches_ipv6(microsocks: Start) -> None:
    async with tieline.serve(our_methods(), "tcp://[::1]:0") as server, microsocks() as port:
        await calls(f"socks5://{LOCAL}:{port}", server, "[::1]")


async def test_microsocks_with_a_password(microsocks: Start) -> None:
    async with tieline.serve(our_methods(), f"tcp://{LOCAL}:0") as server:
        async with microsocks("-u", "ann", "-P", "p@ss") as port:
            await calls(f"socks5://ann:p%40ss@{LOCAL}:{port}", server, "localhost")
            wrong = await refused(f"socks5://ann:wrong@{LOCAL}:{port}", 9)
            assert "refuses the user name or the password" in str(wrong)
            missing = await refused(f"socks5://{LOCAL}:{port}", 9)
            assert (missing.code, type(missing)) == (0xFF, SOCKSFailure)  # type: ignore[attr-defined]  # just shown
        async with microsocks() as port:
            assert "takes no user name" in str(await refused(f"socks5://ann:pw@{LOCAL}:{port}", 9))


@pytest.mark.parametrize("protocol", [SOCKS4, SOCKS4a, SOCKS5], ids=lambda one: one.name())
async def test_ssh(ssh: Start, protocol: Any) -> None:
    async with tieline.serve(our_methods(), f"tcp://{LOCAL}:0") as server, ssh() as port:
        proxy = SOCKSProxy((LOCAL, port), protocol)
        for host in (LOCAL, "localhost") if protocol is not SOCKS4 else (LOCAL,):
            await calls(proxy, server, host)
        with closed_port() as closed:
            error = await refused(proxy, closed)
        assert isinstance(error, SOCKSProtocolError)
        assert "closed the connection without a reply" in str(error)
        assert await SOCKSProxy.auto_detect_address((LOCAL, port), None) == SOCKSProxy((LOCAL, port), SOCKS5)


@pytest.mark.parametrize("protocol", [SOCKS4, SOCKS5], ids=lambda one: one.name())
async def test_dante(dante: Start, protocol: Any) -> None:
    with closed_port() as closed:
        rule = f"socks block {{ from: 0.0.0.0/0 to: {LOCAL}/32 port = 7 }}"
        async with tieline.serve(our_methods(), f"tcp://{LOCAL}:0") as server, dante(rule) as port:
            proxy = SOCKSProxy((LOCAL, port), protocol)
            for host in (LOCAL, "localhost") if protocol is not SOCKS4 else (LOCAL,):
                await calls(proxy, server, host)
            codes = [(await refused(proxy, one)).code for one in (closed, 7)]  # type: ignore[attr-defined]  # SOCKSFailure
            assert codes == ([0x5B, 0x5B] if protocol is SOCKS4 else [5, 2])


# asyncio starts the programs.
WITHOUT_TRIO = [one for one in RUNTIMES if one.name != "trio"]


@pytest.mark.row("P7")
@pytest.mark.parametrize("runtime", WITHOUT_TRIO, ids=str, indirect=True)
async def test_datagrams_go_through_dante(dante: Start, runtime: Any) -> None:
    async with dante() as port, Scene(runtime) as scene:
        with udp() as echo:
            for host in (LOCAL, "localhost"):
                client = await scene.opened(None, (host, echo.getsockname()[1]), proxy=f"socks5://{LOCAL}:{port}")
                for data in (b"there", b"x" * 1400):
                    client.transport.sendto(data)
                    seen, back = await asyncio.to_thread(echo.recvfrom, 2000)
                    assert seen == data
                    echo.sendto(b"and back", back)
                await scene.until(lambda client=client: len(client.got) == 2)  # type: ignore[misc]  # a lambda with a default
                assert client.got == [b"and back"] * 2
                assert client.senders == [echo.getsockname()] * 2


@pytest.mark.row("P7")
@pytest.mark.parametrize("runtime", WITHOUT_TRIO, ids=str, indirect=True)
async def test_a_proxy_without_datagrams_says_so(microsocks: Start, runtime: Any) -> None:
    async with microsocks() as port, Scene(runtime) as scene:
        with pytest.raises(SOCKSFailure) as raised:
            await scene.opened(None, (LOCAL, 9), proxy=f"socks5://{LOCAL}:{port}")
        assert raised.value.code == 7


async def test_tinyproxy(tinyproxy: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = name(monkeypatch, "unused")
    async with tieline.serve(our_methods(), f"tcp://{LOCAL}:0") as server, tinyproxy() as port:
        for host in (LOCAL, "localhost"):
            await calls(f"http://{LOCAL}:{port}", server, host)
        with closed_port() as closed:
            error = await refused(f"http://{LOCAL}:{port}", closed)
        assert error.status in (500, 502, 503)  # type: ignore[attr-defined]  # HTTPConnectError
        # Asked in SOCKS it says nothing at all.
        assert await SOCKSProxy.auto_detect_address((LOCAL, port), None, timeout=0.3) is None
    assert asked == []


async def test_tinyproxy_with_a_password_and_rules(tinyproxy: Start) -> None:
    async with tieline.serve(our_methods(), f"tcp://{LOCAL}:0") as server:
        allowed = server.url.rpartition(":")[2]
        async with tinyproxy("BasicAuth ann pass", f"ConnectPort {allowed}") as port:
            await calls(f"http://ann:pass@{LOCAL}:{port}", server, "localhost")
            found = [
                (await refused(proxy, 9)).status  # type: ignore[attr-defined]  # HTTPConnectError
                for proxy in (
                    f"http://{LOCAL}:{port}",
                    f"http://ann:no@{LOCAL}:{port}",
                    f"http://ann:pass@{LOCAL}:{port}",
                )
            ]
            assert found == [407, 401, 403]


async def test_a_chain_of_real_proxies(microsocks: Start, tinyproxy: Start, dante: Start) -> None:
    async with (
        tieline.serve(our_methods(), f"tcp://{LOCAL}:0") as server,
        microsocks() as one,
        tinyproxy() as two,
        dante() as three,
    ):
        chain = [f"socks5://{LOCAL}:{one}", f"http://localhost:{two}", f"socks5://{LOCAL}:{three}"]
        await calls(chain, server, "localhost")
