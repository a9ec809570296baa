# SPDX-License-Identifier: MIT
"""Packets in TLS that others speak: `openssl s_server`, and stunnel before a server and before a client of ours."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.daemons import Daemon, daemon
from tests.peers.openssl_programs import chain_of
from tieline import TLS
from tieline.errors import ConnectionLost, EndOfStream, TLSTruncated, UnsupportedOperation
from tieline.protocol import StreamProtocol
from tieline.serializers import BytesSerializer, LengthPrefixedSerializer, StringLineSerializer
from tieline.servers import TCPNetworkServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.certificates import Certificates
    from tests.peers.packet_sides import Side

pytestmark = pytest.mark.peers

LINES: StreamProtocol[str] = StreamProtocol(StringLineSerializer())
FRAMES: StreamProtocol[Any, bytes] = StreamProtocol(LengthPrefixedSerializer(BytesSerializer()))
VERSIONS = {"TLSv1.3": "-tls1_3", "TLSv1.2": "-tls1_2"}

Where = tuple[str, int]


# --- openssl s_server, which turns lines round -----------------------------------------------------------------------


def s_server(openssl: Path, folder: Path, certificate: str, *options: str) -> AbstractContextManager[Daemon]:
    ours = ("-accept", "127.0.0.1:0", "-cert", certificate, "-rev")
    return daemon(folder / "log", openssl, "s_server", *ours, *options)


def place_of(server: Daemon) -> Where:
    return "127.0.0.1", int(server.says("ACCEPT ").rpartition(":")[2])


@pytest.fixture(scope="module", params=VERSIONS)
def reverser(
    request: pytest.FixtureRequest,
    openssl: Path,
    tmp_path_factory: pytest.TempPathFactory,
    certificates: Certificates,
) -> Iterator[tuple[Where, str]]:
    folder = tmp_path_factory.mktemp("s_server")
    with s_server(openssl, folder, certificates.server, VERSIONS[request.param]) as server:
        yield place_of(server), request.param


async def reversed_lines(side: Side, where: Where, version: str, trust: TLS) -> None:
    async with side.tcp(where, LINES, ssl=trust) as client:
        assert client.get_extra_info("ssl_object").version() == version
        for line in ("hello", "", "x" * 5000 + "y"):
            await client.send_packet(line)
            assert await client.recv_packet() == line[::-1]
        many = [f"line {number}" for number in range(1000)]
        await client.send_packets(many)
        assert [await client.recv_packet() for _ in many] == [line[::-1] for line in many]
        with pytest.raises(UnsupportedOperation):
            await client.send_eof()
        await client.send_packet("still here")
        assert await client.recv_packet() == "ereh llits"
        await client.send_packet("CLOSE")  # by which it says goodbye
        for _ in range(2):
            with pytest.raises(EndOfStream):
                await client.recv_packet()


@pytest.mark.row("K2", "K7", "K10", "K12")
def test_lines_are_turned_round_until_it_says_goodbye(
    reverser: tuple[Where, str], side: Side, certificates: Certificates
) -> None:
    side.run(reversed_lines, side, *reverser, TLS(ca=certificates.ca))


async def distrusted(side: Side, where: Where, trust: TLS, settings: dict[str, Any]) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        async with side.tcp(where, LINES, ssl=trust, **settings):
            pytest.fail("it is trusted")


@pytest.mark.row("K2", "K6")
@pytest.mark.parametrize("name", [None, "elsewhere.example"])
def test_whom_nobody_knows_is_not_talked_with(
    reverser: tuple[Where, str], side: Side, certificates: Certificates, name: str | None
) -> None:
    trust = TLS() if name is None else TLS(ca=certificates.ca)
    side.run(distrusted, side, reverser[0], trust, {"server_hostname": name})


async def cut(side: Side, server: Daemon, trust: TLS, is_lax: bool) -> None:
    async with side.tcp(place_of(server), LINES, ssl=trust, ssl_standard_compatible=not is_lax) as client:
        await client.send_packet("first")
        assert await client.recv_packet() == "tsrif"
        server.kill()
        for _ in range(2):
            with pytest.raises(EndOfStream if is_lax else TLSTruncated):
                await client.recv_packet()


@pytest.mark.row("K2", "K10")
@pytest.mark.parametrize("is_lax", [False, True], ids=["strict", "lax"])
def test_one_that_is_killed_has_cut_the_stream(
    openssl: Path, side: Side, tmp_path: Path, certificates: Certificates, is_lax: bool
) -> None:
    with s_server(openssl, tmp_path, certificates.server) as server:
        side.run(cut, side, server, TLS(ca=certificates.ca), is_lax)


async def shown(side: Side, where: Where, stranger: TLS, friend: TLS, *, late: bool) -> None:
    error: Exception | None = None
    try:
        async with side.tcp(where, LINES, ssl=stranger) as client:
            assert late
            await client.recv_packet()  # it is told behind the handshake, as soon as anything is read
    except (ConnectionLost, ssl.SSLError) as exc:
        error = exc
    assert isinstance(error, ConnectionLost) == late
    assert any(isinstance(reason, ssl.SSLError) and "alert" in str(reason) for reason in chain_of(error))
    async with side.tcp(where, LINES, ssl=friend) as client:
        await client.send_packet("friend")
        assert await client.recv_packet() == "dneirf"


@pytest.mark.row("K2", "K10")
@pytest.mark.parametrize("version", VERSIONS)
def test_it_asks_for_our_certificate(
    openssl: Path, side: Side, tmp_path: Path, certificates: Certificates, version: str
) -> None:
    asks = ("-Verify", "1", "-verify_return_error", "-CAfile", certificates.ca, VERSIONS[version])
    stranger = TLS(ca=certificates.ca)
    friend = TLS(ca=certificates.ca, certificate=certificates.client)
    with s_server(openssl, tmp_path, certificates.server, *asks) as server:
        conversation = shown(side, place_of(server), stranger, friend, late=version == "TLSv1.3")
        side.run(lambda: conversation)


# --- stunnel between our clients and our servers ---------------------------------------------------------------------


def stunnel(need: Any, folder: Path, *options: str) -> AbstractContextManager[Daemon]:
    """Run stunnel with one service that has these options, as "name = value"."""
    program = need("stunnel", "apt-get install stunnel4, or make test-peers")
    ours = ("foreground = yes", "pid =", "syslog = no", "debug = info", "[service]", "accept = 127.0.0.1:0")
    (folder / "stunnel.conf").write_text("\n".join([*ours, *options, ""]))
    return daemon(folder / "log", program, folder / "stunnel.conf")


def entrance(tunnel: Daemon) -> Where:
    port = int(tunnel.says("bound to ").rpartition(":")[2])
    tunnel.says("Accepting new connections")
    return "127.0.0.1", port


def echo(client: Any) -> None:
    for packet in client.iter_received_packets(timeout=None):
        client.send_packet(packet)


async def through(side: Side, where: Where, settings: dict[str, Any]) -> None:
    async with side.tcp(where, FRAMES, **settings) as client:
        for packet in (b"", b"\0", bytes(range(256)) * 4000):
            await client.send_packet(packet)
            assert await client.recv_packet() == packet
        many = [b"%d" % number for number in range(1000)]
        await client.send_packets(many)
        assert [await client.recv_packet() for _ in many] == many


@pytest.mark.row("K2", "K7")
def test_it_takes_tls_off_before_a_server(need: Any, side: Side, tmp_path: Path, certificates: Certificates) -> None:
    with TCPNetworkServer(echo, ("127.0.0.1", 0), FRAMES) as server:
        (behind,) = server.get_addresses()
        options = (f"cert = {certificates.server}", f"connect = {behind.host}:{behind.port}")  # type: ignore[union-attr]  # TCP
        with stunnel(need, tmp_path, *options) as tunnel:
            side.run(through, side, entrance(tunnel), {"ssl": TLS(ca=certificates.ca)})


@pytest.mark.row("K2", "K7")
def test_it_puts_tls_on_before_a_server(need: Any, side: Side, tmp_path: Path, certificates: Certificates) -> None:
    inside = TLS(certificate=certificates.server, ca=certificates.ca)
    with TCPNetworkServer(echo, ("127.0.0.1", 0), FRAMES, ssl=inside) as server:
        (behind,) = server.get_addresses()
        trusts = (f"CAfile = {certificates.ca}", "verifyChain = yes", f"cert = {certificates.client}")
        options = ("client = yes", f"connect = {behind.host}:{behind.port}", *trusts)  # type: ignore[union-attr]  # TCP
        with stunnel(need, tmp_path, *options) as tunnel:
            side.run(through, side, entrance(tunnel), {})
