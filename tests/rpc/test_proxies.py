# SPDX-License-Identifier: MIT
"""Sessions through proxies: what `proxy=` takes, chains, TLS, and what a session tells of it."""

import logging
import socket
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.certificates import Certificates
from tests.runtimes.scripted_proxies import PATIENCE, Good, Scripted, listening, sends, silent
from tests.runtimes.sockets import name
from tieline import (
    SOCKS4,
    SOCKS5,
    TCP,
    TLS,
    ClientSession,
    HTTPConnectError,
    HTTPConnectProxy,
    MessageSession,
    Methods,
    Server,
    SOCKS4a,
    SOCKSFailure,
    SOCKSProtocolError,
    SOCKSProxy,
    SOCKSUserAuth,
    UnixStream,
    connect,
    serve,
)

METHODS = Methods()
METHODS.method(name="echo")(lambda value: value)
URL = "tcp://127.0.0.1:0"

NAMES = {"wallet.example": "127.0.0.1", "host.example": "127.0.0.1"}
SCHEMES = ["socks4a", "socks5", "http"]


def port_of(server: Server) -> int:
    (address,) = server.get_addresses()
    port: int = address.port  # type: ignore[union-attr]  # it listens on TCP
    return port


def url_of(scheme: str, scripted: Scripted, user: str = "") -> str:
    return f"{scheme}://{user}127.0.0.1:{scripted.port}"


@pytest.fixture
def resolver_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(host: Any, *_: Any, **__: Any) -> Any:
        raise AssertionError(f"{host!r} was looked up")

    for one in ("gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
        monkeypatch.setattr(socket, one, fail)
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        return real(host, *args, **kwargs) if host == "127.0.0.1" else fail(host)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.row("P1", "P6", "P7", "H67")
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_calls_go_through_a_proxy_and_no_name_is_looked_up(
    scheme: str, resolver_fails: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = name(monkeypatch, "unused")
    good = Good(NAMES)
    async with serve(METHODS, URL) as server:
        target = ("wallet.example", port_of(server))
        with listening(good) as scripted:
            async with connect(f"tcp://wallet.example:{target[1]}", proxy=url_of(scheme, scripted)) as session:
                assert await session.call("echo", "hello") == "hello"
                assert await session.call("echo", "x" * 300_000) == "x" * 300_000
                assert session.remote_address() == target
                assert session.get_extra_info("proxy_target") == target
                assert session.get_extra_info("peername") == scripted.address
                assert "wallet.example" in repr(session)
            assert good.asked == [target]
    assert asked == []


@pytest.mark.row("P7")
async def test_a_proxy_is_given_as_a_value_a_url_or_a_list() -> None:
    good = Good(NAMES)
    async with serve(METHODS, URL) as server:
        with listening(good) as scripted:
            socks = SOCKSProxy(scripted.address, SOCKS5)
            for given, told in [
                (socks, socks),
                (HTTPConnectProxy(scripted.address), HTTPConnectProxy(scripted.address)),
                (url_of("socks5", scripted), socks),
                (url_of("SOCKS5H", scripted) + "/", socks),
                ([socks], socks),
                ((url_of("socks4a", scripted),), SOCKSProxy(scripted.address, SOCKS4a)),
            ]:
                async with ClientSession("wallet.example", port_of(server), proxy=given) as session:
                    assert await session.call("echo", 1) == 1
                    assert session.proxy() == told
            assert len(good.asked) == 6


@pytest.mark.row("P7")
async def test_a_chain_is_walked_from_the_nearest_to_the_target(resolver_fails: None) -> None:
    hops = [Good(NAMES), Good(NAMES, auth=(b"ann", b"pw")), Good(NAMES)]
    async with serve(METHODS, URL) as server:
        with listening(hops[0]) as one, listening(hops[1]) as two, listening(hops[2]) as three:
            chain = [
                SOCKSProxy(one.address, SOCKS4a),
                SOCKSProxy(("host.example", two.port), SOCKS5, SOCKSUserAuth("ann", "pw")),
                f"http://host.example:{three.port}",
            ]
            async with connect(f"tcp://wallet.example:{port_of(server)}", proxy=chain) as session:
                assert await session.call("echo", 1) == 1
                assert session.proxy() == (*chain[:2], HTTPConnectProxy(("host.example", three.port)))
                assert session.remote_address() == ("wallet.example", port_of(server))
            asked = [("host.example", two.port), ("host.example", three.port), ("wallet.example", port_of(server))]
            assert [hop.asked for hop in hops] == [[one_asked] for one_asked in asked]


@pytest.mark.row("P3", "P7")
async def test_a_chain_says_which_kind_of_proxy_fails() -> None:
    with listening(Good()) as one, listening(sends(b"HTTP/1.1 403 No\r\n\r\n")) as two:
        chain = [url_of("socks5", one), url_of("http", two)]
        with pytest.raises(
            HTTPConnectError, match=f"through {chain[0]}, {chain[1]}: the HTTP proxy refuses: status 403"
        ):
            await connect("tcp://wallet.example:1", proxy=chain).create_connection(nursery=aio.nursery())


@pytest.mark.row("H69")
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_tls_through_a_proxy_is_verified_against_the_target(scheme: str, certificates: Certificates) -> None:
    good = Good({"host.example": "127.0.0.1", "elsewhere.example": "127.0.0.1"})
    async with serve(METHODS, URL, tls=TLS(certificate=certificates.server)) as server:
        with listening(good) as scripted:
            proxy, tls = url_of(scheme, scripted), TLS(ca=certificates.ca)
            async with connect(f"tls://host.example:{port_of(server)}", proxy=proxy, tls=tls) as session:
                assert await session.call("echo", 1) == 1
                assert session.remote_address() == ("host.example", port_of(server))
            away = connect(f"tls://elsewhere.example:{port_of(server)}", proxy=proxy, tls=tls)
            with pytest.raises(OSError, match=r"elsewhere\.example"):
                await away.create_connection(nursery=aio.nursery())


class Node(MessageSession):
    """Answers a ping, and tells what came."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.came: aio.Future = aio.Future()

    async def handle_message(self, message: Any) -> None:
        self.came.set_result(message)
        if message[0] == b"ping":
            await self.send_message((b"pong", message[1]))


@pytest.mark.row("P6", "S14")
async def test_a_message_session_goes_through_a_proxy() -> None:
    async with serve(Node, URL) as server:
        with listening(Good(NAMES)) as scripted:
            async with Node("host.example", port_of(server), proxy=url_of("socks5", scripted)) as session:
                await session.send_message((b"ping", b"there"))
                assert await session.came == (b"pong", b"there")
                assert session.remote_address() == ("host.example", port_of(server))
            url = f"tcp://host.example:{port_of(server)}"
            async with connect(url, proxy=url_of("http", scripted), session_factory=Node) as session:
                assert session.proxy() == HTTPConnectProxy(scripted.address)


@pytest.mark.row("P3", "P9", "H63")
async def test_a_session_that_a_proxy_refuses_or_keeps_waiting_never_was() -> None:
    with listening(sends(b"\x05\xff")) as scripted:
        session = connect("tcp://h:1", proxy=url_of("socks5", scripted))
        with pytest.raises(SOCKSFailure):
            await session.create_connection(nursery=aio.nursery())
        assert session.remote_address() is None
        assert session.get_extra_info("proxy_target", "none") == "none"
    with listening(sends(b"")) as scripted, pytest.raises(SOCKSProtocolError):
        await connect("tcp://h:1", proxy=url_of("socks5", scripted)).create_connection(nursery=aio.nursery())
    with listening(silent) as scripted:
        session = connect("tcp://h:1", proxy=url_of("socks5", scripted), connect_timeout=0.05)
        with pytest.raises(TimeoutError, match="through socks5://"):
            await session.create_connection(nursery=aio.nursery())
        assert scripted.ended.acquire(timeout=PATIENCE)


@pytest.mark.row("P1", "P7", "H66")
@pytest.mark.parametrize(
    ("endpoint", "proxy", "says"),
    [
        ("tcp://host.example:1", "socks4://127.0.0.1:2", "no names: use SOCKS5, or SOCKS4a"),
        ("tcp://[::1]:1", "socks4a://127.0.0.1:2", "no IPv6 addresses: use SOCKS5"),
        ("tcp://[fe80::1%25lo]:1", "socks5://127.0.0.1:2", "has a zone"),
        ("tcp://h:1", ["socks4://127.0.0.1:2", "http://proxy.example:3"], "no names"),
        ("tcp://h:1", ["http://h:3", SOCKSProxy("/tmp/s", SOCKS5)], "cannot be reached through another proxy"),
        ("tcp://h:1", [], "at least one"),
        ("tcp://h:1", "9050", "the URL of a proxy must be"),
        ("tcp://one,two:1", "socks5://h:2", "can only listen"),
        ("tcp://h:0", "socks5://h:2", "can only listen"),
        (UnixStream("/tmp/s"), "socks5://h:2", "TCP endpoints only"),
    ],
)
def test_what_cannot_be_is_refused_when_the_session_is_made(endpoint: Any, proxy: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        connect(endpoint, proxy=proxy)


@pytest.mark.row("P7")
@pytest.mark.parametrize("proxy", [9050, ("127.0.0.1", 9050), [None], object(), {"http": "x"}])
def test_what_is_no_proxy_is_refused(proxy: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"proxy|proxies"):
        connect("tcp://h:1", proxy=proxy)


def test_a_given_socket_excludes_a_proxy() -> None:
    with socket.socket() as sock, pytest.raises(ValueError, match="sock excludes proxy"):
        ClientSession(sock=sock, proxy="socks5://h:1")


@pytest.mark.row("P6")
async def test_a_local_address_counts_for_the_connection_to_the_proxy() -> None:
    async with serve(METHODS, URL) as server:
        with listening(Good()) as scripted:
            endpoint = TCP("127.0.0.1", port_of(server), local_addr=("127.0.0.2", 0))
            async with connect(endpoint, proxy=SOCKSProxy(scripted.address, SOCKS4)) as session:
                assert session.get_extra_info("sockname")[0] == "127.0.0.2"


@pytest.mark.row("P4")
async def test_a_session_goes_through_a_proxy_at_a_unix_socket(tmp_path: Path) -> None:
    async with serve(METHODS, URL) as server:
        with listening(Good(), tmp_path / "proxy"):
            endpoint = TCP("127.0.0.1", port_of(server), local_addr=("127.0.0.2", 0))  # of no use there, and no harm
            async with connect(endpoint, proxy=SOCKSProxy(tmp_path / "proxy", SOCKS5)) as session:
                assert await session.call("echo", 1) == 1
                assert session.remote_address() == ("127.0.0.1", port_of(server))


@pytest.mark.row("P2", "H80")
@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "http"])
async def test_no_log_and_no_error_holds_a_secret(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts: list[str] = []
    async with serve(METHODS, URL) as server:
        target = f"tcp://127.0.0.1:{port_of(server)}"
        auth = None if scheme.startswith("socks4") or scheme == "http" else (b"horsey", b"staple")
        with listening(Good(auth=auth)) as good, listening(sends(b"horsey staple" * 99)) as bad:
            for scripted, place in [(good, target), (good, "tcp://127.0.0.1:1"), (bad, target)]:
                session = connect(place, proxy=url_of(scheme, scripted, "horsey:staple@"))
                try:
                    async with session:
                        await session.call("echo", 1)
                        texts += [repr(session.proxy()), str(session.proxy())]
                except OSError as exc:
                    cause: BaseException | None = exc
                    while cause is not None:
                        texts += [repr(cause), str(cause), repr(cause.args)]
                        cause = cause.__cause__ or cause.__context__
                texts.append(repr(session))
    texts += [record.getMessage() for record in caplog.records]
    assert len(texts) > 9
    assert not [text for text in texts if "horsey" in text or "staple" in text]
