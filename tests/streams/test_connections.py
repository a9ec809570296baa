# SPDX-License-Identifier: MIT
"""`create_connection` and its kin: the order of steps, every way there, what is told of failures, and the facts."""

import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import until
from tests.runtimes.scripted_proxies import Good, listening
from tests.runtimes.sockets import V4, V6, black_hole, closed_port, full_unix_listener, name, open_sockets, tcp_listener
from tests.streams.scene import Echo, Story, connect, connect_unix, echoes, serving, tls_client, tls_server
from tieline import transports


@pytest.mark.row("D1")
async def test_steps_come_in_order_connect_factory_made_return() -> None:
    steps: list[str] = []

    class Stepping(Story):
        def __init__(self, *args: object) -> None:
            assert args == ()
            super().__init__()
            steps.append("factory")

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            assert transport.get_extra_info("peername") == address
            steps.append("made")

    with tcp_listener() as (listener, port):
        address = listener.getsockname()
        transport, protocol = await connect(Stepping, "127.0.0.1", port)
        steps.append("returned")
        assert steps == ["factory", "made", "returned"]
        assert isinstance(protocol, Stepping)
        assert protocol.transport is transport
        transport.close()
        await until(lambda: protocol.lost_with)
    assert protocol.told == ["made", "lost"]


@pytest.mark.row("D1")
async def test_where_nobody_is_the_factory_is_not_called() -> None:
    calls: list[None] = []
    with closed_port() as port, pytest.raises(ConnectionRefusedError, match=f"127.0.0.1.*{port}"):
        await connect(lambda: calls.append(None), "127.0.0.1", port)
    assert calls == []


@pytest.mark.row("D1")
async def test_a_factory_that_fails_leaves_nothing() -> None:
    held = open_sockets()
    with tcp_listener() as (_, port):
        with pytest.raises(ZeroDivisionError):
            await connect(lambda: 1 / 0, "127.0.0.1", port)
        assert open_sockets() == held + 1  # the listener


@pytest.mark.row("D1", "T7")
@pytest.mark.parametrize("secured", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("buffered", [False, True], ids=["data", "buffers"])
async def test_what_connection_made_raises_comes_out_and_the_connection_is_closed(
    certificates: Certificates, secured: bool, buffered: bool
) -> None:
    class Fails(Story):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            raise ZeroDivisionError("in connection_made")

    class FailsWithBuffers(Fails):
        data_received = None  # type: ignore[assignment]  # a buffered protocol has none

        def get_buffer(self, sizehint: int) -> bytearray:
            return bytearray(100)

        def buffer_updated(self, nbytes: int) -> None: ...

    made: list[Fails] = []

    def factory() -> Fails:
        made.append(FailsWithBuffers() if buffered else Fails())
        return made[-1]

    settings: dict[str, Any] = {}
    if secured:
        settings = {"ssl": tls_client(certificates), "server_hostname": "localhost"}
    with aio.reported() as reported:
        async with serving(Echo, ssl=tls_server(certificates) if secured else None) as served:
            with pytest.raises(ZeroDivisionError, match="in connection_made"):
                await connect(factory, "127.0.0.1", served.port, **settings)
            await until(lambda: made[0].lost_with)
            await served.lost()
    assert made[0].told == ["made", "lost"]
    assert isinstance(made[0].lost_with[0], ZeroDivisionError)
    assert reported == []  # whoever dials is told, and nobody else


@pytest.mark.row("D1", "T7")
async def test_who_closes_it_while_it_is_made_is_told_of_both_and_closes_nothing_of_others(runtime: Any) -> None:
    class Unwilling(Story):
        other = -1

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.close()

        def connection_lost(self, exc: BaseException | None) -> None:
            super().connection_lost(exc)
            self.other = os.dup(1)  # takes the number that has become free

    made: list[Unwilling] = []

    def factory() -> Unwilling:
        made.append(Unwilling())
        return made[-1]

    with tcp_listener() as (_, port):
        try:
            await connect(factory, "127.0.0.1", port)
        except RuntimeError:
            assert str(runtime) == "uvloop"  # says so itself, of its own transport
        (protocol,) = made
        await until(lambda: protocol.lost_with)
        os.close(protocol.other)  # it is there still
    assert protocol.told == ["made", "lost"]


WAYS: dict[str, Callable[[int, Certificates], tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "host and port": lambda port, _: (("127.0.0.1", port), {}),
    "an endpoint": lambda port, _: ((tieline.TCP("127.0.0.1", port),), {}),
    "a URL": lambda port, _: ((f"tcp://127.0.0.1:{port}",), {}),
    "settings": lambda port, _: (
        ("127.0.0.1", port),
        {"family": V4, "proto": 6, "flags": socket.AI_NUMERICHOST, "local_addr": ("127.0.0.1", 0), "interleave": 2},
    ),
    "one after the other": lambda port, _: (("127.0.0.1", port), {"happy_eyeballs_delay": None}),
}
TLS_WAYS: dict[str, Callable[[int, Certificates], tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "TLS": lambda port, given: (("localhost", port), {"ssl": tls_client(given)}),
    "a context": lambda port, given: (("127.0.0.1", port), {"ssl": ssl.create_default_context(cafile=given.ca)}),
    "a tls URL": lambda port, given: ((f"tls://localhost:{port}",), {"ssl": tls_client(given)}),
    "another name": lambda port, given: (
        ("127.0.0.1", port),
        {"ssl": tls_client(given), "server_hostname": "host.example"},
    ),
    "no name": lambda port, given: ((None, port), {"ssl": tls_client(given), "server_hostname": ""}),
    "time limits": lambda port, given: (
        ("127.0.0.1", port),
        {"ssl": tls_client(given), "ssl_handshake_timeout": 9, "ssl_shutdown_timeout": 9},
    ),
}


@pytest.mark.row("D1", "D4")
async def test_every_way_of_saying_where_leads_there(certificates: Certificates) -> None:
    async with serving() as served:
        for what, way in WAYS.items():
            args, settings = way(served.port, certificates)
            assert await echoes(*await connect(Story, *args, **settings)), what
        await served.lost()


@pytest.mark.row("D1", "D6")
async def test_every_way_of_saying_where_leads_there_over_tls(certificates: Certificates) -> None:
    async with serving(ssl=tls_server(certificates)) as served:
        for what, way in TLS_WAYS.items():
            args, settings = way(served.port, certificates)
            assert await echoes(*await connect(Story, *args, **settings)), what
        await served.lost()


@pytest.mark.row("D1")
async def test_without_a_host_it_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as served:
        name(monkeypatch, "localhost", (V4, "127.0.0.1", served.port))
        for host in (None, ""):
            assert await echoes(*await connect(Story, host, served.port))
        await served.lost()


@pytest.mark.row("D1", "D6")
@pytest.mark.parametrize("tls", [False, True])
async def test_a_given_socket_is_used_and_then_the_transports(tls: bool, certificates: Certificates) -> None:
    async with serving(ssl=tls_server(certificates) if tls else None) as served:
        sock = socket.create_connection(("127.0.0.1", served.port))
        extra: dict[str, Any] = {"ssl": tls_client(certificates), "server_hostname": "localhost"} if tls else {}
        transport, protocol = await connect(Story, sock=sock, **extra)
        assert transport.get_extra_info("sockname") == sock.getsockname()
        assert await echoes(transport, protocol)
        assert sock.fileno() < 0
        await served.lost()


@pytest.mark.row("D1", "P1")
@pytest.mark.parametrize("tls", [False, True])
async def test_through_proxies_the_target_is_reached(tls: bool, certificates: Certificates) -> None:
    async with serving(ssl=tls_server(certificates) if tls else None) as served:
        with listening(Good({"host.example": "127.0.0.1"})) as proxy:
            url = f"socks5://127.0.0.1:{proxy.port}"
            settings: dict[str, Any] = {"ssl": tls_client(certificates)} if tls else {}
            for way in (url, [url], tieline.SOCKSProxy(proxy.address, tieline.SOCKS5)):
                assert await echoes(*await connect(Story, "host.example", served.port, proxy=way, **settings))
        assert proxy.connections == 3
        await served.lost()


@pytest.mark.row("D1")
async def test_another_object_that_dials_is_asked_with_host_and_port() -> None:
    class Detour:
        async def create_connection(self, factory: Any, host: str, port: int, **settings: Any) -> Any:
            assert (host, port) == ("far.example", 5)
            assert set(settings) <= {"nursery"}
            return await aio.create_connection(factory, "127.0.0.1", served.port)

    class Buffering(transports.BufferedProtocol):  # it must be one of asyncio's by then
        def __init__(self) -> None:
            self.buffer = bytearray(99)
            self.data = b""
            self.lost_with: list[Any] = []

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.data += self.buffer[:nbytes]

        def connection_lost(self, exc: BaseException | None) -> None:
            self.lost_with.append(exc)

    async with serving() as served:
        assert await echoes(*await connect(Buffering, "far.example", 5, proxy=Detour()))
        await served.lost()


@pytest.mark.row("D4")
async def test_unix_sockets_by_path_by_socket_and_by_url(tmp_path: Path) -> None:
    path = tmp_path / "s"
    protocols: list[Any] = []
    server = await tieline.create_unix_server(_echo(protocols), path, nursery=aio.nursery())
    async with server:
        for one in (path, str(path), bytes(path)):
            assert await echoes(*await connect_unix(Story, one))
        assert await echoes(*await connect(Story, f"unix://{path}"))
        assert await echoes(*await connect(Story, tieline.UnixStream(path)))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            assert await echoes(*await connect_unix(Story, sock=sock))
        await until(lambda: all(one.lost_with for one in protocols))
        assert len(protocols) == 6


@pytest.mark.row("D4", "D6")
async def test_unix_sockets_over_tls(tmp_path: Path, certificates: Certificates) -> None:
    path = tmp_path / "s"
    protocols: list[Any] = []
    server = await tieline.create_unix_server(
        _echo(protocols), path, ssl=tls_server(certificates), nursery=aio.nursery()
    )
    async with server:
        for host in ("host.example", ""):
            tls = tls_client(certificates)
            assert await echoes(*await connect_unix(Story, path, ssl=tls, server_hostname=host))
        await until(lambda: all(one.lost_with for one in protocols))


def _echo(protocols: list[Any]) -> Callable[[], Any]:
    def factory() -> Any:
        protocols.append(Echo())
        return protocols[-1]

    return factory


# --- D2, D3: races, deadlines, failures -----------------------------------------------------------------------------


@pytest.mark.row("D2", "D3")
async def test_all_addresses_of_a_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as served:
        with black_hole(V6) as silent, closed_port() as dead:
            name(
                monkeypatch,
                "many.example",
                (V6, "::1", silent),
                (V4, "127.0.0.1", dead),
                (V4, "127.0.0.1", served.port),
            )
            assert await echoes(*await connect(Story, "many.example", 1, happy_eyeballs_delay=0))
        await served.lost()


@pytest.mark.row("D3")
async def test_where_all_refuse_each_attempt_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as one, closed_port(V6) as other:
        name(monkeypatch, "none.example", (V4, "127.0.0.1", one), (V6, "::1", other))
        with pytest.raises(ConnectionRefusedError) as told:
            await connect(Story, "none.example", 1)
    assert isinstance(told.value.__cause__, ExceptionGroup)
    assert len(told.value.__cause__.exceptions) == 2
    assert str(one) in str(told.value)
    assert str(other) in str(told.value)


@pytest.mark.row("D3")
async def test_a_name_that_nobody_knows_is_a_gaierror(monkeypatch: pytest.MonkeyPatch) -> None:
    name(monkeypatch, "other")
    with pytest.raises(socket.gaierror, match=r"nowhere\.example"):
        await connect(Story, "nowhere.example", 1)


@pytest.mark.row("D2")
async def test_one_deadline_holds_for_all(tmp_path: Path) -> None:
    with black_hole() as port:
        for seconds in (0, 0.02):
            with pytest.raises(TimeoutError, match=f"within {seconds} s"):
                await connect(Story, "127.0.0.1", port, connect_timeout=seconds)
    with full_unix_listener(str(tmp_path / "s")), pytest.raises(TimeoutError):
        await connect_unix(Story, tmp_path / "s", connect_timeout=0.02)


@pytest.mark.row("D2", "D6")
@pytest.mark.parametrize("which", ["connect_timeout", "ssl_handshake_timeout"])
async def test_a_peer_that_never_shakes_hands_is_left(which: str) -> None:
    with tcp_listener() as (_, port):
        calls: list[Story] = []

        def factory() -> Story:
            calls.append(Story())
            return calls[-1]

        with pytest.raises(TimeoutError, match=r"0\.05 s"):
            await connect(factory, "127.0.0.1", port, ssl=True, **{which: 0.05})
    assert not any(one.told for one in calls)


@pytest.mark.row("D3", "D6")
async def test_whom_nobody_vouches_for_is_refused_with_the_reason(certificates: Certificates) -> None:
    made: list[Story] = []

    def factory() -> Story:
        made.append(Story())
        return made[-1]

    tls = {"ssl": tls_client(certificates)}
    async with serving(ssl=tieline.TLS(certificate=certificates.stranger)) as served:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"tls://localhost:\d+"):
            await connect(factory, "localhost", served.port, **tls)
    assert [one.told for one in served.protocols] == [[]]
    async with serving(ssl=tls_server(certificates)) as served:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"wrong\.example"):
            await connect(factory, "localhost", served.port, server_hostname="wrong.example", **tls)
    assert [one.told for one in made] == [[], []]
    assert [one.told for one in served.protocols] == [[]]


# --- T0, T1: transports and their facts -----------------------------------------------------------------------------


@pytest.mark.row("T0", "T1")
async def test_every_transport_is_one_of_ours_and_tells_its_facts(certificates: Certificates, tmp_path: Path) -> None:
    tls = {"ssl": tls_client(certificates)}
    async with serving() as plain, serving(ssl=tls_server(certificates)) as secured:
        for port, settings in ((plain.port, {}), (secured.port, tls)):
            transport, protocol = await connect(Story, "127.0.0.1", port, **settings)
            transport.write(b"x")
            await until(lambda protocol=protocol: protocol.data)  # type: ignore[misc]  # a lambda with a default
            theirs = (secured if settings else plain).protocols[-1]
            for end, own, other in ((transport, protocol, theirs.transport), (theirs.transport, theirs, transport)):
                assert isinstance(end, transports.Transport)
                assert isinstance(end, transports.ReadTransport)
                assert isinstance(end, transports.WriteTransport)
                assert end.get_protocol() is own
                assert end.get_extra_info("peername") == other.get_extra_info("sockname")
                assert end.get_extra_info("socket").fileno() >= 0
                assert end.get_extra_info("pipe") is None
                assert end.get_extra_info("no such fact", 5) == 5
                _check_tls_facts(end, is_client=end is transport, is_tls=bool(settings))
            transport.close()
            assert transport.is_closing()
            await until(lambda theirs=theirs: theirs.lost_with)  # type: ignore[misc]  # as above
    async with await tieline.create_unix_server(Story, tmp_path / "s", nursery=aio.nursery()):
        transport, protocol = await connect_unix(Story, tmp_path / "s")
        assert isinstance(transport, transports.Transport)
        assert not transport.get_extra_info("sockname")
        transport.abort()
        await until(lambda: protocol.lost_with)


def _check_tls_facts(transport: Any, *, is_client: bool, is_tls: bool) -> None:
    facts = {
        fact: transport.get_extra_info(fact, "none")
        for fact in ("compression", "cipher", "peercert", "sslcontext", "ssl_object")
    }
    if not is_tls:
        assert set(facts.values()) == {"none"}
        return
    assert facts["compression"] is None
    assert len(facts["cipher"]) == 3
    assert isinstance(facts["sslcontext"], ssl.SSLContext)
    assert isinstance(facts["ssl_object"], ssl.SSLObject)
    assert ("subjectAltName" in (facts["peercert"] or {})) is is_client  # the client shows none
    assert not transport.can_write_eof()
    with pytest.raises(NotImplementedError):
        transport.write_eof()


@pytest.mark.row("T1")
async def test_a_socket_that_cannot_tell_its_peer_has_none() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport, protocol = await connect_unix(Story, sock=ours)
        assert not transport.get_extra_info("peername")
        transport.close()
        await until(lambda: protocol.lost_with)
