# SPDX-License-Identifier: MIT
"""What `create_datagram_endpoint` takes, and what becomes of it, on every runtime and in blocking code."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

import tieline
import tieline.blocking
from tests import aio
from tests.runtimes.datagram_scene import LOCAL, RUNTIMES, Scene, Story, udp, unix
from tests.runtimes.sockets import V4, V6, name, open_sockets, settled, stale
from tieline import UDP, UnixDatagram
from tieline.socket import IPv4SocketAddress, UnixSocketAddress

pytestmark = pytest.mark.parametrize("runtime", RUNTIMES, ids=str, indirect=True)

BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, ValueError, "local_addr, remote_addr, family or sock must be given"),
    ({"local_addr": ("127.0.0.1", 70_000)}, ValueError, "from 0 to 65535, not 70000"),
    ({"local_addr": ["127.0.0.1", 1, 2]}, TypeError, "a tuple of host and port"),
    ({"local_addr": 5}, TypeError, "a tuple of host and port"),
    ({"local_addr": ("user@host", 1)}, ValueError, "no user"),
    ({"remote_addr": ("127.0.0.1", 0)}, ValueError, "a port over 0"),
    ({"remote_addr": (None, 1)}, ValueError, "a host and a port"),
    ({"remote_addr": UDP(None, 1)}, ValueError, "can only listen on udp://:1"),
    ({"remote_addr": UDP(["h", "i"], 1)}, ValueError, "can only listen on udp://h,i:1, .* takes one host"),
    ({"local_addr": UDP(["h", "i"], 1)}, ValueError, "udp://h,i:1 has several hosts"),
    ({"local_addr": UDP("h", 1, local_addr=("h", 2))}, ValueError, "is for connecting"),
    ({"local_addr": UnixDatagram("a", "b")}, ValueError, "is for connecting"),
    ({"local_addr": UDP("h", 1), "remote_addr": UDP("h", 2)}, ValueError, "excludes the other address"),
    ({"local_addr": UDP("h", 1), "remote_addr": ("h", 2)}, ValueError, "excludes the other address"),
    ({"local_addr": UDP("h", 1), "reuse_port": True}, TypeError, "settings go into local_addr itself"),
    ({"local_addr": tieline.TCP("h", 1)}, TypeError, "or an endpoint, not TCP"),
    ({"remote_addr": "path", "family": socket.AF_INET}, ValueError, "AF_UNIX alone"),
    ({"remote_addr": "path", "reuse_port": True}, ValueError, "no reuse_port"),
    ({"remote_addr": ""}, ValueError, "must not be empty"),
    ({"local_addr": ("a", 1), "remote_addr": "path"}, TypeError, "must be a path, not tuple"),
    ({"family": socket.AF_UNIX, "remote_addr": ("a", 1)}, TypeError, "must be a path, not tuple"),
]


@pytest.mark.row("D4", "D1")
@pytest.mark.parametrize(("arguments", "kind", "says"), BAD, ids=lambda value: value if isinstance(value, str) else "")
async def test_bad_arguments_are_refused_before_anything_is_opened(
    arguments: dict[str, Any], kind: type[Exception], says: str, runtime: Any
) -> None:
    held = open_sockets()
    async with Scene(runtime) as scene:
        with pytest.raises(kind, match=says):
            await scene.opened(**arguments)
    assert open_sockets() == held


@pytest.mark.row("D1")
async def test_a_given_socket_is_used_and_owned(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        given = udp()
        server = await scene.opened(sock=given)
        assert server.transport.get_extra_info("socket") is given
        with udp() as peer:
            peer.sendto(b"x", given.getsockname())
            await scene.until(lambda: server.got)
        connected = udp()
        connected.connect(given.getsockname())
        client = await scene.opened(sock=connected)
        client.transport.sendto(b"y")
        await scene.until(lambda: server.got == [b"x", b"y"])
        server.transport.close()
        await scene.until(lambda: server.lost_with)
        assert given.fileno() == -1


@pytest.mark.row("D1")
@pytest.mark.parametrize(
    ("kind", "arguments", "says"),
    [
        (socket.SOCK_DGRAM, {"local_addr": LOCAL}, "sock excludes local_addr"),
        (socket.SOCK_DGRAM, {"remote_addr": LOCAL, "proto": 17}, "sock excludes remote_addr, proto"),
        (socket.SOCK_DGRAM, {"proxy": "socks5://h:1"}, "sock excludes proxy"),
        (socket.SOCK_STREAM, {}, "a socket of datagrams is needed"),
    ],
)
async def test_a_given_socket_excludes_the_rest_and_is_closed_when_refused(
    kind: socket.SocketKind, arguments: dict[str, Any], says: str, runtime: Any
) -> None:
    given = socket.socket(socket.AF_INET, kind)
    async with Scene(runtime) as scene:
        with pytest.raises(ValueError, match=says):
            await scene.opened(sock=given, **arguments)
    assert given.fileno() == -1


@pytest.mark.row("D3", "D4")
async def test_errors_name_addresses_as_urls_do_and_can_be_printed(tmp_path: Path, runtime: Any) -> None:
    path = os.fsencode(tmp_path) + b"/\xff"
    async with Scene(runtime) as scene:
        with pytest.raises(FileNotFoundError, match=r"to unix-dgram:///.*/%FF: No such file") as caught:
            await scene.opened(remote_addr=path)
        str(caught.value).encode()
        with pytest.raises(FileNotFoundError, match=r"at unix-dgram:///.*/%FF/s: No such file"):
            await scene.opened(local_addr=path + b"/s")
        with pytest.raises(ConnectionRefusedError, match="to unix-dgram:@no%00name: Connection refused"):
            await scene.opened(remote_addr=b"\0no\0name")
        zone = socket.if_nametoindex("lo")
        with pytest.raises(OSError, match=rf"to udp://\[fe80::1%25lo\]:9: .*\(\[fe80::1%{zone}\]:9\)"):
            await scene.opened(remote_addr=("fe80::1%lo", 9))


@pytest.mark.row("D4")
async def test_endpoints_as_values(tmp_path: Path, runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(UDP("127.0.0.1", 0, max_size=10))
        port = server.transport.get_extra_info("sockname")[1]
        client = await scene.opened(None, UDP("127.0.0.1", port, local_addr=("127.0.0.1", 0), allow_broadcast=True))
        sock = client.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
        client.transport.sendto(b"x" * 11)
        client.transport.sendto(b"x" * 10)
        await scene.until(lambda: server.got)
        assert server.got == [b"x" * 10]
        assert server.transport.get_extra_info("dropped") == 1
        there = UnixDatagram(tmp_path / "there", mode=0o620)
        second = await scene.opened(there)
        assert stat.S_IMODE(os.stat(tmp_path / "there").st_mode) == 0o620
        third = await scene.opened(None, UnixDatagram(tmp_path / "there", tmp_path / "own"))
        third.transport.sendto(b"hello")
        await scene.until(lambda: second.got)
        assert second.senders == [str(tmp_path / "own")]
        second.transport.sendto(b"and back", UnixSocketAddress.from_pathname(tmp_path / "own"))
        await scene.until(lambda: third.got)
        third.transport.close()
        await scene.until(lambda: third.lost_with)
        assert (tmp_path / "own").exists()  # never removed


@pytest.mark.row("D4")
async def test_all_interfaces_and_abstract_names(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        for where in (UDP(None, 0), (None, 0), ("", 0)):
            server = await scene.opened(where)
            assert server.transport.get_extra_info("sockname")[0] == "0.0.0.0"
        abstract = f"@tieline-{os.getpid()}-{runtime}"
        server = await scene.opened(UnixDatagram(abstract))
        for there in (
            UnixDatagram(abstract),
            "\0" + abstract[1:],
            b"\0" + abstract[1:].encode(),
            UnixSocketAddress.from_abstract_name(abstract[1:]),
        ):
            client = await scene.opened(None, there)
            client.transport.sendto(b"x")
        await scene.until(lambda: len(server.got) == 4)


@pytest.mark.row("D5")
async def test_several_sockets_on_one_port(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        first = await scene.opened(LOCAL, reuse_port=True)
        address = first.transport.get_extra_info("sockname")
        second = await scene.opened(UDP(address[0], address[1], reuse_port=True))
        assert second.transport.get_extra_info("sockname") == address
        with pytest.raises(OSError, match=rf"at udp://127.0.0.1:{address[1]}: Address already in use") as raised:
            await scene.opened(address)
        assert raised.value.errno == errno.EADDRINUSE


@pytest.mark.row("D5")
async def test_the_file_of_a_dead_socket_is_taken_over_and_no_other(tmp_path: Path, runtime: Any) -> None:
    async with Scene(runtime) as scene:
        stale(tmp_path / "dead", socket.SOCK_DGRAM)
        await scene.opened(UnixDatagram(tmp_path / "dead"))
        (tmp_path / "file").touch()
        with unix(tmp_path / "live"), socket.socket(socket.AF_UNIX) as stream:
            stream.bind(str(tmp_path / "stream"))
            stream.listen()
            for place, says in (
                ("dead", "a live socket is there"),
                ("live", "a live socket is there"),
                ("file", "a regular file is there"),
                ("stream", "a live socket of another type is there"),
            ):
                with pytest.raises(OSError, match=says) as raised:
                    await scene.opened(str(tmp_path / place))
                assert raised.value.errno == errno.EADDRINUSE
                assert f"at unix-dgram://{tmp_path / place}" in str(raised.value)
        assert set(os.listdir(tmp_path)) == {"dead", "file", "live", "stream"}


@pytest.mark.row("D3", "K6")
async def test_nobody_at_a_path_is_an_error_of_its_class(tmp_path: Path, runtime: Any) -> None:
    held = open_sockets()
    async with Scene(runtime) as scene:
        with pytest.raises(FileNotFoundError, match=r"to unix-dgram:.*nowhere: No such file"):
            await scene.opened(None, str(tmp_path / "nowhere"))
        stale(tmp_path / "dead", socket.SOCK_DGRAM)
        with pytest.raises(ConnectionRefusedError, match=r"to unix-dgram:.*dead"):
            await scene.opened(None, str(tmp_path / "dead"))
    assert open_sockets() == held


@pytest.mark.row("D3", "K6")
async def test_a_path_of_its_own_that_it_cannot_have_is_what_the_error_names(tmp_path: Path, runtime: Any) -> None:
    held = open_sockets()
    (tmp_path / "file").touch()
    with unix(tmp_path / "peer"):
        async with Scene(runtime) as scene:
            for own, says in (("no/own", "No such file or directory"), ("file", "a regular file is there")):
                with pytest.raises(OSError, match=rf" at unix-dgram://{tmp_path}/{own}: {says}"):
                    await scene.opened(str(tmp_path / own), str(tmp_path / "peer"))
    assert open_sockets() == held


@pytest.mark.row("D2", "D3")
async def test_all_addresses_of_a_name_are_tried(runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Scene(runtime) as scene:
        if scene.is_blocking:
            _blocking_name(monkeypatch, "device.test", (V6, "::1", 9), (V4, "127.0.0.1", 9))
        else:
            name(monkeypatch, "device.test", (V6, "::1", 9), (V4, "127.0.0.1", 9))
        # The first is of no use to a socket that is bound to IPv4.
        client = await scene.opened(LOCAL, ("device.test", 9))
        assert client.transport.get_extra_info("peername") == ("127.0.0.1", 9)
        with pytest.raises(OSError, match=r"\(192\.0\.2\.1:0 to 127\.0\.0\.1:9\)") as raised:
            await scene.opened(("192.0.2.1", 0), ("device.test", 9))
        assert raised.value.errno == errno.EADDRNOTAVAIL
        with pytest.raises(OSError, match=r"no address of udp://127\.0\.0\.1:0 is of a family of the other's"):
            await scene.opened(LOCAL, ("::1", 9))
        with pytest.raises(socket.gaierror, match=r"cannot resolve host 'other\.test'"):
            await scene.opened(None, ("other.test", 9))


def _blocking_name(monkeypatch: pytest.MonkeyPatch, host: str, *addresses: tuple[int, str, int]) -> None:
    def getaddrinfo(asked: str, *_: object, **settings: Any) -> list[Any]:
        assert settings["type"] == socket.SOCK_DGRAM
        if asked != host:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        tails: dict[int, tuple[int, ...]] = {V4: (), V6: (0, 0)}
        return [(family, socket.SOCK_DGRAM, 17, "", (ip, port, *tails[family])) for family, ip, port in addresses]

    monkeypatch.setattr("tieline.runtimes.blocking.sockets.socket.getaddrinfo", getaddrinfo)


@pytest.mark.row("D2")
async def test_a_real_name_is_looked_up(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(LOCAL)
        port = server.transport.get_extra_info("sockname")[1]
        client = await scene.opened(None, ("localhost", port), family=V4)
        client.transport.sendto(b"x")
        await scene.until(lambda: server.got)


@pytest.mark.row("K18")
async def test_ipv6_and_addresses_as_sockets_give_them(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(("::1", 0))
        raw = server.transport.get_extra_info("sockname")
        assert raw[0] == "::1"
        for remote in (raw, raw[:2]):
            client = await scene.opened(None, remote)
            client.transport.sendto(b"x", remote)
        await scene.until(lambda: len(server.got) == 2)
        server.transport.sendto(b"back", server.senders[1])
        with pytest.raises(ValueError, match=r"numeric IPv6 address, not to '127\.0\.0\.1'"):
            server.transport.sendto(b"x", ("127.0.0.1", 1))
        await scene.until(lambda: client.got)
        fourth = await scene.opened(IPv4SocketAddress(*LOCAL))
        assert IPv4SocketAddress(*fourth.transport.get_extra_info("sockname")).host == "127.0.0.1"


async def test_a_family_alone_gives_a_socket_that_sends_from_anywhere(runtime: Any) -> None:
    async with Scene(runtime) as scene:
        server = await scene.opened(LOCAL)
        client = await scene.opened(family=V4)
        client.transport.sendto(b"x", server.transport.get_extra_info("sockname"))
        await scene.until(lambda: server.got)
        assert client.transport.get_extra_info("sockname")[1] == server.senders[0][1]


@pytest.mark.row("D1")
async def test_a_factory_that_fails_leaves_no_socket(runtime: Any) -> None:
    def fail() -> Story:
        raise RuntimeError("no protocol today")

    async def create() -> Any:
        if runtime.name == "blocking":
            return tieline.blocking.create_datagram_endpoint(fail, LOCAL)
        return await tieline.create_datagram_endpoint(fail, LOCAL, nursery=aio.nursery())

    held = open_sockets()
    with pytest.raises(RuntimeError, match="no protocol today"):
        await create()
    assert await settled(held) == held


async def test_a_nursery_is_for_trio_and_needed_there(runtime: Any) -> None:
    if runtime.name == "blocking":
        with pytest.raises(TypeError, match="nursery"):
            tieline.blocking.create_datagram_endpoint(Story, LOCAL, nursery=None)  # type: ignore[call-arg]  # the mistake that is shown
        return
    wrong = None if aio.on_trio() else object()
    given = udp()
    with pytest.raises((tieline.LocalProtocolError, ValueError), match="nursery"):
        await tieline.create_datagram_endpoint(Story, sock=given, nursery=wrong)
    assert given.fileno() == -1
