# SPDX-License-Identifier: MIT
"""Through proxies: real sockets, scripted proxies, good ones and hostile ones."""

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.certificates import Certificates
from tests.runtimes.scripted_proxies import (
    PATIENCE,
    Good,
    Script,
    at_once,
    byte_by_byte,
    listening,
    read,
    sends,
    silent,
)
from tests.runtimes.sockets import V6, Recorder, black_hole, closed_port, name, tcp_listener
from tieline import (
    SOCKS4,
    SOCKS5,
    HTTPConnectError,
    HTTPConnectProxy,
    SOCKS4a,
    SOCKSFailure,
    SOCKSProtocolError,
    SOCKSProxy,
    SOCKSRandomAuth,
    SOCKSUserAuth,
)

ANN = SOCKSUserAuth("ann", "pw")
PROTOCOLS = [SOCKS4, SOCKS4a, SOCKS5, None]  # None is HTTP CONNECT
NAMED = [SOCKS4a, SOCKS5, None]


def title(protocol: Any) -> str:
    return "HTTP" if protocol is None else str(protocol.name())


each = pytest.mark.parametrize("protocol", PROTOCOLS, ids=title)
each_with_names = pytest.mark.parametrize("protocol", NAMED, ids=title)


def proxy_at(address: Any, protocol: Any, auth: Any = None) -> Any:
    return HTTPConnectProxy(address, auth) if protocol is None else SOCKSProxy(address, protocol, auth)


@pytest.fixture
def no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look-up of a name fail the test."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in ("127.0.0.1", "::1"):
            raise AssertionError(f"{host!r} was looked up")
        return real(host, *args, **kwargs)

    def fail(host: Any, *_: Any) -> Any:
        raise AssertionError(f"{host!r} was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for one in ("gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
        monkeypatch.setattr(socket, one, fail)


async def through(proxy: Any, *target: Any, **settings: Any) -> tuple[Any, Any]:
    connected: tuple[Any, Any] = await proxy.create_connection(*target, nursery=aio.nursery(), **settings)
    return connected


async def works(proxy: Any, host: str, listener: socket.socket, **settings: Any) -> Any:
    """See that bytes go both ways, and return the protocol, closed again."""
    port = listener.getsockname()[1]
    transport, protocol = await through(proxy, Recorder, host, port, **settings)
    assert protocol.transport is transport
    peer, _ = await aio.to_thread(listener.accept)
    with peer:
        transport.write(b"to you")
        assert await aio.to_thread(read, peer, 6) == b"to you"
        peer.sendall(b"to me")
        await protocol.received
        assert protocol.data == b"to me"
        transport.close()
        await protocol.lost
    return protocol


# --- good proxies ----------------------------------------------------------------------------------------------------


@pytest.mark.row("P1", "P6", "H65", "H67")
@pytest.mark.parametrize("send", [at_once, byte_by_byte])
@each_with_names
async def test_a_name_goes_to_the_proxy_and_to_nobody_else(
    protocol: Any, send: Any, no_resolver: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = name(monkeypatch, "unused")
    good = Good({"host.example": "127.0.0.1"}, send=send)
    with tcp_listener() as (listener, port), listening(good) as scripted:
        proxy = proxy_at(scripted.address, protocol)
        made = await works(proxy, "host.example", listener)
        assert good.asked == [("host.example", port)]
        assert made._address == ("host.example", port)
        assert (proxy.host, proxy.port, proxy.peername) == ("host.example", port, scripted.address)
    assert asked == []


@pytest.mark.row("P1", "P6")
@each
async def test_an_ipv4_address_is_reached(protocol: Any) -> None:
    good = Good()
    with tcp_listener() as (listener, port), listening(good) as scripted:
        await works(proxy_at(scripted.address, protocol), "127.0.0.1", listener)
        assert good.asked == [("127.0.0.1", port)]


@pytest.mark.row("P1", "P6")
@pytest.mark.parametrize("protocol", [SOCKS5, None], ids=title)
async def test_an_ipv6_address_is_reached(protocol: Any) -> None:
    good = Good()
    with tcp_listener(V6) as (listener, port), listening(good) as scripted:
        await works(proxy_at(scripted.address, protocol), "::1", listener)
        assert good.asked == [("::1", port)]


@pytest.mark.row("P1", "H65")
@each
async def test_what_comes_with_the_reply_is_the_target_s(protocol: Any) -> None:
    good = Good(glued=b"\x05\x00 first of all\r\n\r\n")
    with tcp_listener() as (_, port), listening(good) as scripted:
        transport, made = await through(proxy_at(scripted.address, protocol), Recorder, "127.0.0.1", port)
        await made.received
        assert made.data == b"\x05\x00 first of all\r\n\r\n"
        transport.close()
        await made.lost


@pytest.mark.row("P4")
async def test_a_proxy_may_be_at_a_unix_socket(tmp_path: Path) -> None:
    good = Good({"host.example": "127.0.0.1"})
    with tcp_listener() as (listener, port), listening(good, tmp_path / "proxy"):
        proxy = SOCKSProxy(tmp_path / "proxy", SOCKS5)
        assert (proxy.host, proxy.port, proxy.peername) == (None, None, None)
        await works(proxy, "host.example", listener)
        assert (proxy.host, proxy.port, proxy.peername) == ("host.example", port, str(tmp_path / "proxy"))


@pytest.mark.row("P4")
async def test_all_addresses_of_the_proxy_s_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    good = Good()
    with tcp_listener() as (listener, _), listening(good) as scripted, closed_port() as closed:
        v4 = socket.AF_INET
        asked = name(monkeypatch, "proxy.example", (v4, "127.0.0.1", closed), (v4, "127.0.0.1", scripted.port))
        await works(SOCKSProxy(("proxy.example", scripted.port), SOCKS5), "127.0.0.1", listener)
        assert asked == ["proxy.example"]


@pytest.mark.row("P6")
async def test_a_name_is_looked_up_here_if_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    good = Good()
    with tcp_listener() as (listener, port), listening(good) as scripted, closed_port() as closed:
        v4 = socket.AF_INET
        found = ((V6, "::1", port), (v4, "127.0.0.1", closed), (v4, "127.0.0.1", port))
        asked = name(monkeypatch, "host.example", *found)
        proxy = SOCKSProxy(scripted.address, SOCKS4)  # it cannot be asked for the first of them
        made = await works(proxy, "host.example", listener, resolve=True)
        assert asked == ["host.example"]
        assert good.asked == [("127.0.0.1", closed), ("127.0.0.1", port)]
        assert made._address == (proxy.host, proxy.port) == ("127.0.0.1", port)


@pytest.mark.row("P6")
async def test_when_all_of_its_addresses_fail_each_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(Good()) as scripted, closed_port() as closed:
        v4 = socket.AF_INET
        name(monkeypatch, "host.example", (V6, "::1", closed), (v4, "127.0.0.1", closed))
        proxy = SOCKSProxy(scripted.address, SOCKS4)
        with pytest.raises(OSError, match=r"no IPv6 addresses.*rejected") as caught:
            await through(proxy, Recorder, "host.example", closed, resolve=True)
        assert isinstance(caught.value.__cause__, ExceptionGroup)
        name(monkeypatch, "one.example", (v4, "127.0.0.1", closed))
        with pytest.raises(SOCKSFailure, match="rejected"):
            await through(proxy, Recorder, "one.example", closed, resolve=True)


@pytest.mark.row("P6")
async def test_each_is_told_once_when_the_proxy_itself_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as closed:
        v4 = socket.AF_INET
        name(monkeypatch, "host.example", *((v4, f"127.0.0.{number}", 9) for number in range(1, 5)))
        proxy = SOCKSProxy(("127.0.0.1", closed), SOCKS4)
        with pytest.raises(ConnectionRefusedError) as caught:
            await through(proxy, Recorder, "host.example", 9, resolve=True)
        assert str(caught.value).count("refused") == 4


@pytest.mark.row("P6", "D3")
async def test_who_waits_no_longer_is_told_of_those_that_had_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(silent) as scripted:
        name(monkeypatch, "host.example", (V6, "::1", 9), (socket.AF_INET, "127.0.0.1", 9))
        proxy = SOCKSProxy(scripted.address, SOCKS4)
        with pytest.raises(TimeoutError) as caught:
            await through(proxy, Recorder, "host.example", 9, resolve=True, timeout=0.05)
        assert "no IPv6 addresses" in str(caught.value.__cause__)


@pytest.mark.row("P2")
@pytest.mark.parametrize("protocol", [SOCKS5, None], ids=title)
async def test_credentials_are_told(protocol: Any) -> None:
    good = Good(auth=(b"ann", b"pw"))
    with tcp_listener() as (listener, _), listening(good) as scripted:
        await works(proxy_at(scripted.address, protocol, ANN), "127.0.0.1", listener)
        assert good.users == [b"Basic YW5uOnB3" if protocol is None else b"ann"]


@pytest.mark.row("P2")
@pytest.mark.parametrize("protocol", [SOCKS4, SOCKS4a], ids=title)
async def test_the_older_protocols_tell_the_user_and_no_password(protocol: Any) -> None:
    good = Good()
    with tcp_listener() as (listener, _), listening(good) as scripted:
        await works(proxy_at(scripted.address, protocol, ANN), "127.0.0.1", listener)
        assert good.users == [b"ann"]


@pytest.mark.row("P2")
async def test_random_credentials_are_others_each_time() -> None:
    good = Good()
    with tcp_listener() as (listener, _), listening(good) as scripted:
        proxy = SOCKSProxy(scripted.address, SOCKS4, SOCKSRandomAuth())
        await works(proxy, "127.0.0.1", listener)
        await works(proxy, "127.0.0.1", listener)
        assert len(set(good.users)) == 2
        assert all(len(one) == 32 for one in good.users)


@pytest.mark.row("P6", "H69")
@pytest.mark.asyncio_only("the target is asyncio's own TLS")
@each_with_names
async def test_tls_is_with_the_target_and_verifies_its_name(protocol: Any, certificates: Certificates) -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificates.server)
    trusting = ssl.create_default_context(cafile=certificates.ca)
    good = Good({"host.example": "127.0.0.1", "elsewhere.example": "127.0.0.1"})
    writers: list[Any] = []

    def greet(_reader: Any, writer: Any) -> None:
        writers.append(writer)
        writer.write(b"secret")

    with listening(good) as scripted:
        server = await aio.start_server(greet, "127.0.0.1", 0, ssl=served)
        port = server.sockets[0].getsockname()[1]
        proxy = proxy_at(scripted.address, protocol)
        transport, made = await through(proxy, Recorder, "host.example", port, ssl=trusting)
        await made.received
        assert made.data == b"secret"
        transport.abort()
        await made.lost
        with pytest.raises(ssl.SSLCertVerificationError, match=r"elsewhere\.example"):
            await through(proxy, Recorder, "elsewhere.example", port, ssl=trusting)
        server.close()
        for writer in writers:
            writer.transport.abort()
        assert [host for host, _ in good.asked] == ["host.example", "elsewhere.example"]


# --- refusals and faults ---------------------------------------------------------------------------------------------


@pytest.mark.row("P3")
@each
async def test_a_refusal_by_the_target_is_told_with_its_code(protocol: Any) -> None:
    with listening(Good()) as scripted, closed_port() as port:
        with pytest.raises((SOCKSFailure, HTTPConnectError), match=f"through .*127.0.0.1:{scripted.port}") as caught:
            await through(proxy_at(scripted.address, protocol), Recorder, "127.0.0.1", port)
        codes = {SOCKS4: 0x5B, SOCKS4a: 0x5B, SOCKS5: 5}
        assert getattr(caught.value, "code", None) == codes.get(protocol)
        assert getattr(caught.value, "status", None) == (502 if protocol is None else None)
        assert caught.value.__cause__ is not None


@pytest.mark.row("P2", "P3")
@pytest.mark.parametrize(
    ("protocol", "auth", "code"),
    [(SOCKS5, None, 0xFF), (SOCKS5, SOCKSUserAuth("ann", "wrong"), 1), (None, None, 407)],
)
async def test_credentials_that_are_missing_or_wrong_are_told(protocol: Any, auth: Any, code: int) -> None:
    with listening(Good(auth=(b"ann", b"pw"))) as scripted:
        with pytest.raises((SOCKSFailure, HTTPConnectError)) as caught:
            await through(proxy_at(scripted.address, protocol, auth), Recorder, "127.0.0.1", 9)
        assert getattr(caught.value, "code", getattr(caught.value, "status", None)) == code
        assert "wrong" not in str(caught.value)


@pytest.mark.row("P2")
async def test_a_proxy_that_would_not_check_the_credentials_is_refused() -> None:
    with listening(sends(b"\x05\x00")) as scripted, pytest.raises(SOCKSProtocolError, match="alone was offered"):
        await through(SOCKSProxy(scripted.address, SOCKS5, ANN), Recorder, "127.0.0.1", 9)


@pytest.mark.row("P3")
@each
async def test_a_proxy_that_is_not_there_is_told_apart_from_its_target(protocol: Any) -> None:
    with closed_port() as port:
        proxy = proxy_at(("127.0.0.1", port), protocol)
        with pytest.raises(ConnectionRefusedError, match=r"cannot connect to tcp://127\.0\.0\.1:9 through"):
            await through(proxy, Recorder, "127.0.0.1", 9)


@pytest.mark.row("P3")
async def test_what_fails_in_tls_behind_a_proxy_is_told_with_the_way_there(certificates: Certificates) -> None:
    trusting = ssl.create_default_context(cafile=certificates.ca)

    def greet() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.sendall(b"220 this is no TLS\r\n")
            sock.recv(1)
            while sock.recv(1000):
                pass

    with tcp_listener() as (listener, port), listening(Good()) as scripted, ThreadPoolExecutor() as threads:
        greeting = threads.submit(greet)
        proxy = SOCKSProxy(scripted.address, SOCKS5)
        with pytest.raises(ssl.SSLError, match=rf"tls://127\.0\.0\.1:{port} through socks5://.*WRONG_VERSION"):
            await through(proxy, Recorder, "127.0.0.1", port, ssl=trusting, timeout=10)
        greeting.result()


@pytest.mark.row("P6", "H63")
async def test_one_deadline_covers_connecting_the_dialogue_and_tls(certificates: Certificates) -> None:
    trusting = ssl.create_default_context(cafile=certificates.ca)
    with tcp_listener() as (_, port), listening(Good()) as scripted, black_hole() as nobody:
        with pytest.raises(TimeoutError, match=r"within 0\.1 s"):
            await through(SOCKSProxy(("127.0.0.1", nobody), SOCKS5), Recorder, "127.0.0.1", 9, timeout=0.1)
        with pytest.raises(TimeoutError, match=r"within 0\.1 s"):  # a target that does not shake hands
            await through(SOCKSProxy(scripted.address, SOCKS5), Recorder, "127.0.0.1", port, ssl=trusting, timeout=0.1)


@pytest.mark.row("P3", "P6")
@each
async def test_cancelling_closes_the_socket(protocol: Any) -> None:
    with listening(silent) as scripted:
        dialling = aio.ensure_future(through(proxy_at(scripted.address, protocol), Recorder, "127.0.0.1", 9))
        await aio.to_thread(scripted.begun.acquire)
        dialling.cancel()
        with pytest.raises(aio.Cancelled):
            await dialling
        assert scripted.ended.acquire(timeout=PATIENCE)


@pytest.mark.row("P1", "H66")
@pytest.mark.parametrize(
    ("protocol", "host"),
    [(SOCKS4, "host.example"), (SOCKS4, "::1"), (SOCKS4a, "::1"), (SOCKS5, "a" * 300), (SOCKS5, "a\0b"), (None, "a b")],
)
async def test_what_the_proxy_cannot_be_asked_for_fails_before_it_is_dialled(protocol: Any, host: str) -> None:
    with listening(silent) as scripted:
        with pytest.raises(ValueError, match=r"SOCKS4|host"):
            await through(proxy_at(scripted.address, protocol), Recorder, host, 9)
        assert scripted.connections == 0


@pytest.mark.row("P6")
async def test_a_factory_that_fails_leaves_nothing_behind() -> None:
    def factory() -> Any:
        raise LookupError("no protocol today")

    with tcp_listener() as (_, port), listening(Good()) as scripted:
        with pytest.raises(LookupError):
            await through(SOCKSProxy(scripted.address, SOCKS5), factory, "127.0.0.1", port)
        with pytest.raises(ValueError, match="loop must be None"):
            await through(SOCKSProxy(scripted.address, SOCKS5), Recorder, "127.0.0.1", port, loop=object())


@pytest.mark.row("P6")
async def test_a_protocol_with_slots_goes_without_the_address() -> None:
    class Slotted(aio.Protocol):
        __slots__ = ("lost",)

        def __init__(self) -> None:
            self.lost = aio.Future()

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost.set_result(None)

    with tcp_listener() as (_, port), listening(Good()) as scripted:
        transport, made = await through(SOCKSProxy(scripted.address, SOCKS5), Slotted, "127.0.0.1", port)
        assert not hasattr(made, "_address")
        transport.close()
        await made.lost


# --- finding out -----------------------------------------------------------------------------------------------------


@pytest.mark.row("P5")
@pytest.mark.parametrize(
    ("script", "found"),
    [
        (Good(), SOCKS5),
        (Good(auth=(b"ann", b"pw")), SOCKS5),  # it wants a password, and so it speaks SOCKS5
        (Good(speaks="4"), SOCKS4a),
        (Good(speaks="4", grants_names=False), SOCKS4),
        (sends(b"\0\x5b"), SOCKS4a),
        (Good(speaks="C"), None),
        (sends(b"HTTP/1.1 400 No\r\n\r\n"), None),
        (silent, None),
    ],
)
async def test_a_protocol_is_found_out(script: Script, found: Any, no_resolver: None) -> None:
    with listening(script) as scripted:
        proxy = await SOCKSProxy.auto_detect_address(scripted.address, None, timeout=0.02 if script is silent else 20.0)
        assert (proxy and proxy.protocol) is found
        assert proxy == (found and SOCKSProxy(scripted.address, found))


@pytest.mark.row("P5")
async def test_for_socks5_the_greeting_tells_and_nothing_is_asked_for() -> None:
    good = Good(auth=(b"ann", b"pw"))
    with listening(good) as scripted:
        proxy = await SOCKSProxy.auto_detect_at_address(scripted.address, ANN)
        assert proxy is not None
        assert proxy.auth is ANN
        assert (scripted.connections, good.asked, good.users) == (1, [], [])


@pytest.mark.row("P5")
async def test_the_first_port_with_a_proxy_counts(tmp_path: Path) -> None:
    with listening(Good(speaks="4")) as one, listening(Good()) as two, closed_port() as nobody:
        for detect in (SOCKSProxy.auto_detect_host, SOCKSProxy.auto_detect_at_host):
            proxy = await detect("127.0.0.1", [nobody, one.port, two.port], None)
            assert proxy == SOCKSProxy(one.address, SOCKS4a)
            assert two.connections == 0
        assert await SOCKSProxy.auto_detect_host("127.0.0.1", (nobody,), None) is None
        assert await SOCKSProxy.auto_detect_host("127.0.0.1", (), None) is None
    assert await SOCKSProxy.auto_detect_address(tmp_path / "nobody", None) is None
    with listening(Good(), tmp_path / "proxy"):
        assert await SOCKSProxy.auto_detect_address(tmp_path / "proxy", None) == SOCKSProxy(tmp_path / "proxy", SOCKS5)


# --- Tor -------------------------------------------------------------------------------------------------------------


@pytest.mark.row("P7")
async def test_tor_looks_names_up(no_resolver: None) -> None:
    good = Good({"host.example": "192.0.2.1", "192.0.2.1": "name.example"}, auth=(b"ann", b"pw"))
    with listening(good) as scripted:
        proxy = SOCKSProxy(scripted.address, SOCKS5, ANN)
        assert await proxy.resolve("host.example") == "192.0.2.1"
        assert await proxy.resolve_ptr("192.0.2.1") == "name.example"
        with pytest.raises(SOCKSFailure, match="host unreachable") as caught:
            await proxy.resolve("missing.example")
        assert caught.value.code == 4
        with pytest.raises(ValueError, match="only SOCKS5 has RESOLVE"):
            await SOCKSProxy(scripted.address, SOCKS4a).resolve("host.example")
    with listening(silent) as scripted, pytest.raises(TimeoutError, match="no answer"):
        await SOCKSProxy(scripted.address, SOCKS5).resolve("host.example", timeout=0.05)
