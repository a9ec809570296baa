# SPDX-License-Identifier: MIT
"""`create_server` and `create_unix_server`: asyncio's members of a server, on every runtime."""

import errno
import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import turns, until
from tests.runtimes.sockets import open_sockets, settled, stale
from tests.streams.scene import Echo, Story, connect, connect_unix, echoes, serving, tls_client, tls_server
from tieline import exceptions

HAS_IPV6 = socket.has_ipv6


@pytest.mark.row("D4")
async def test_a_server_has_the_members_of_asyncios_and_its_close_leaves_connections() -> None:
    async with serving() as served:
        server = served.server
        assert server.is_serving()
        assert "serving" in repr(server)
        (sock,) = server.sockets
        assert sock.getsockname() == ("127.0.0.1", served.port)
        assert server.endpoints == (tieline.TCP("127.0.0.1", served.port),)
        address = ("127.0.0.1", served.port)
        transport, protocol = await connect(Story, *address)
        transport.write(b"one")
        await until(lambda: protocol.data == b"one")
        waiting = aio.create_task(server.wait_closed())
        await turns()
        assert not waiting.done()
        server.close()
        server.close()
        await waiting
        await server.wait_closed()
        assert not server.is_serving()
        assert server.sockets == ()
        assert "closed" in repr(server)
        with pytest.raises(ConnectionRefusedError):
            await connect(Story, *address)
        transport.write(b"two")
        await until(lambda: protocol.data == b"onetwo")
        transport.close()
        await until(lambda: protocol.lost_with)
        await served.lost()
        for again in (server.start_serving, server.serve_forever):
            with pytest.raises(tieline.LocalProtocolError, match="the server is closed"):
                await again()


@pytest.mark.row("D5")
@pytest.mark.parametrize("tls", [False, True])
async def test_before_it_starts_connections_wait(tls: bool, certificates: Certificates) -> None:
    settings: dict[str, Any] = {"ssl": tls_client(certificates)} if tls else {}
    async with serving(start_serving=False, ssl=tls_server(certificates) if tls else None) as served:
        assert not served.server.is_serving()
        assert "bound" in repr(served.server)
        port = served.port
        dialling = aio.create_task(connect(Story, "127.0.0.1", port, **settings))
        await turns(50)
        assert served.protocols == []
        await served.server.start_serving()
        await served.server.start_serving()
        assert served.server.is_serving()
        transport, protocol = await dialling
        assert await echoes(transport, protocol)
        await served.lost()


@pytest.mark.row("D5")
async def test_a_server_that_never_starts_is_closed_all_the_same() -> None:
    held = open_sockets()
    async with serving(start_serving=False):
        assert open_sockets() == held + 1
    assert await settled(held) == held


@pytest.mark.row("D4")
async def test_serve_forever_starts_it_and_closes_it_when_cancelled() -> None:
    async with serving(start_serving=False) as served:
        serving_ = aio.create_task(served.server.serve_forever())
        await until(served.server.is_serving)
        with pytest.raises(tieline.LocalProtocolError, match=r"in serve_forever\(\) already"):
            await served.server.serve_forever()
        assert await echoes(*await connect(Story, "127.0.0.1", served.port))
        await served.lost()
        serving_.cancel()
        await aio.wait({serving_})
        assert serving_.cancelled()
        assert not served.server.is_serving()
        assert served.server.sockets == ()


@pytest.mark.row("D4")
async def test_serve_forever_returns_when_somebody_closes_it() -> None:
    async with serving() as served:
        serving_ = aio.create_task(served.server.serve_forever())
        await turns()
        served.server.close()
        await serving_


@pytest.mark.row("D5")
@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("host", "families"),
    [
        (("127.0.0.1", "::1"), {socket.AF_INET, socket.AF_INET6}),
        (["127.0.0.1", "::1"], {socket.AF_INET, socket.AF_INET6}),
        ("", {socket.AF_INET, socket.AF_INET6}),
        (["", "127.0.0.1"], {socket.AF_INET, socket.AF_INET6}),
        (tieline.TCP(None, 0), {socket.AF_INET, socket.AF_INET6}),
        ("tcp://127.0.0.1,[::1]:0", {socket.AF_INET, socket.AF_INET6}),
        ("tcp://127.0.0.1:0", {socket.AF_INET}),
    ],
)
async def test_several_hosts_and_families_listen_at_one_port(host: Any, families: set[int]) -> None:
    port = None if isinstance(host, tieline.TCP) or "://" in host else 0
    async with serving(host=host, port=port) as served:
        assert {sock.family for sock in served.server.sockets} == families
        assert len({sock.getsockname()[1] for sock in served.server.sockets}) == 1
        for address in ("127.0.0.1", "::1")[: len(families)]:
            assert await echoes(*await connect(Story, address, served.port))
        await served.lost()


@pytest.mark.row("D5")
async def test_one_family_of_all_interfaces() -> None:
    async with serving(host=None, family=socket.AF_INET) as served:
        assert [sock.getsockname()[0] for sock in served.server.sockets] == ["0.0.0.0"]


@pytest.mark.row("D5")
async def test_a_port_that_is_taken_is_said_with_its_address() -> None:
    async with serving() as served:
        with pytest.raises(OSError, match=f"127.0.0.1:{served.port}") as told:
            await tieline.create_server(Story, "127.0.0.1", served.port, nursery=aio.nursery())
        assert told.value.errno == errno.EADDRINUSE


@pytest.mark.row("D5")
@pytest.mark.skipif(sys.platform != "linux", reason="Linux spreads connections among sockets of one port")
async def test_a_port_can_be_shared() -> None:
    async with serving(reuse_port=True) as first, serving(port=first.port, reuse_port=True) as second:
        assert first.port == second.port
        for _ in range(20):
            assert await echoes(*await connect(Story, "127.0.0.1", first.port))
        assert first.protocols
        assert second.protocols
        await first.lost()
        await second.lost()


@pytest.mark.row("D5")
@pytest.mark.parametrize("how", ["sock", "fd"])
@pytest.mark.parametrize("listens", [False, True])
async def test_a_socket_or_descriptor_of_somebody_else_is_listened_on(how: str, listens: bool) -> None:
    held = open_sockets()
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    if listens:
        sock.listen()
    address = sock.getsockname()
    given: dict[str, Any] = {"sock": sock} if how == "sock" else {"fd": sock.detach()}
    async with serving(host=None, port=None, **given) as served:
        assert served.port == address[1]
        assert await echoes(*await connect(Story, *address))
        await served.lost()
    assert await settled(held) == held


@pytest.mark.row("D5")
async def test_a_descriptor_that_is_no_socket_is_an_oserror(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="socket"):
            await tieline.create_server(Story, fd=fd, nursery=aio.nursery())
        os.fstat(fd)  # still ours
    finally:
        os.close(fd)


@pytest.mark.row("D5")
async def test_backlog_is_what_may_wait() -> None:
    async with serving(start_serving=False, backlog=0) as served:
        with socket.create_connection(("127.0.0.1", served.port)), pytest.raises(TimeoutError):
            await connect(Story, "127.0.0.1", served.port, connect_timeout=0.05)


@pytest.mark.row("D5", "D6")
async def test_who_never_shakes_hands_is_cut_and_nobody_is_told(certificates: Certificates) -> None:
    async with serving(ssl=tls_server(certificates), ssl_handshake_timeout=0.05) as served:
        with socket.create_connection(("127.0.0.1", served.port)) as silent:
            silent.settimeout(5)
            assert await aio.to_thread(silent.recv, 1) == b""
        assert [one.told for one in served.protocols] == [[]]


@pytest.mark.row("D6")
async def test_a_server_can_ask_for_certificates(certificates: Certificates) -> None:
    server_side = tieline.TLS(certificate=certificates.server, ca=certificates.ca, alpn=("x",))
    async with serving(ssl=server_side) as served:
        ours = tieline.TLS(ca=certificates.ca, certificate=certificates.client, alpn=("y", "x"))
        transport, protocol = await connect(Story, "localhost", served.port, ssl=ours)
        assert transport.get_extra_info("ssl_object").selected_alpn_protocol() == "x"
        transport.write(b"x")
        await until(lambda: protocol.data)
        peercert = served.protocols[0].transport.get_extra_info("peercert")
        assert ("email", "ann@client.example") in peercert["subjectAltName"]
        transport.close()
        await until(lambda: protocol.lost_with)
        await served.lost()


@pytest.mark.row("D6")
async def test_a_cut_is_told_apart_from_a_goodbye_over_tls(certificates: Certificates) -> None:
    async with serving(ssl=tls_server(certificates)) as served:
        for how, error in (("close", None), ("abort", exceptions.TLSTruncated)):
            transport, protocol = await connect(Story, "localhost", served.port, ssl=tls_client(certificates))
            transport.write(b"x")
            await until(lambda protocol=protocol: protocol.data)  # type: ignore[misc]  # a lambda with a default
            theirs = served.protocols[-1]
            if how == "abort":
                transport._lower.abort()  # an end without close_notify, as of a cut line
            else:
                transport.close()
            await until(lambda theirs=theirs: theirs.lost_with)  # type: ignore[misc]  # as above
            assert theirs.lost_with == [None] if error is None else isinstance(theirs.lost_with[0], error)
            assert ("eof" in theirs.told) is (error is None)


@pytest.mark.row("D5")
async def test_socket_files_are_private_taken_from_the_dead_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    stale(path)
    for mode in (0o600, 0o660):
        server = await tieline.create_unix_server(Echo, path, mode=mode, nursery=aio.nursery())
        async with server:
            assert stat.S_IMODE(path.stat().st_mode) == mode
            with pytest.raises(OSError, match="a live server listens there"):
                await tieline.create_unix_server(Echo, path, nursery=aio.nursery())
            assert await echoes(*await connect_unix(Story, path))
            await turns(50)
        assert not path.exists()


@pytest.mark.row("D5")
async def test_a_given_unix_socket_keeps_its_file(tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    async with await tieline.create_unix_server(Echo, sock=sock, nursery=aio.nursery()):
        assert await echoes(*await connect_unix(Story, tmp_path / "s"))
        await turns(50)
    assert (tmp_path / "s").exists()


@pytest.mark.row("D5", "T7")
@pytest.mark.parametrize("secured", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("buffered", [False, True], ids=["data", "buffers"])
async def test_what_connection_made_raises_is_reported_once_and_the_connection_is_closed(
    certificates: Certificates, secured: bool, buffered: bool
) -> None:
    class Fails(Story):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            raise RuntimeError("in connection_made")  # which uvloop takes for a word of its own

    class FailsWithBuffers(Fails):
        data_received = None  # type: ignore[assignment]  # a buffered protocol has none

        def get_buffer(self, sizehint: int) -> bytearray:
            raise AssertionError("it was given data")

        def buffer_updated(self, nbytes: int) -> None: ...

    made: list[Fails] = []

    def factory() -> Fails:
        made.append(FailsWithBuffers() if buffered else Fails())
        return made[-1]

    settings: dict[str, Any] = {}
    if secured:
        settings = {"ssl": tls_client(certificates), "server_hostname": "localhost"}
    with aio.reported() as reported:
        async with serving(factory, ssl=tls_server(certificates) if secured else None) as served:
            transport, protocol = await connect(Story, "127.0.0.1", served.port, **settings)
            transport.write(b"hello")
            await until(lambda: protocol.lost_with)
            await until(lambda: made[0].lost_with)
            assert served.server.is_serving()
    assert made[0].told == ["made", "lost"]
    assert [str(error) for error in (*made[0].lost_with, *reported)] == ["in connection_made"] * 2


@pytest.mark.row("D5")
async def test_a_factory_that_fails_costs_its_connection_alone() -> None:
    class Failing(Story):
        def __init__(self) -> None:
            raise ZeroDivisionError

    async with serving(Failing) as served:
        with aio.reported() as reported:
            _, protocol = await connect(Story, "127.0.0.1", served.port)
            await until(lambda: protocol.lost_with)
        assert [type(error) for error in reported] == [ZeroDivisionError]
        assert served.server.is_serving()
