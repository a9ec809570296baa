# SPDX-License-Identifier: MIT
"""Sessions over TLS, on real sockets: whom a client trusts, whom a server lets in, and what both can tell of it."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import aio
from tests.certificates import Certificates
from tests.rpc.sessions import transport_of, until
from tieline import (
    TCP,
    TLS,
    ClientSession,
    ConnectionLost,
    Limits,
    Methods,
    Server,
    ServerSession,
    UnixStream,
    connect,
    serve,
)
from tieline.errors import TLSTruncated

URL = "tls://127.0.0.1:0"
METHODS = Methods()


@METHODS.method
def echo(value: object) -> object:
    return value


@METHODS.method
def who(session: ServerSession) -> object:
    """Return the names in the certificate of whoever asks."""
    shown = session.peer_certificate()
    return shown if shown is None else shown["subjectAltName"]


@METHODS.method
async def ask_back(session: ServerSession) -> object:
    return await session.call("echo", "back")


def port_of(server: Server) -> int:
    (endpoint,) = server.get_addresses()
    assert isinstance(endpoint, TCP)
    return endpoint.port


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


# --- it works --------------------------------------------------------------------------------------------------------


@pytest.mark.row("D6", "S3")
async def test_calls_go_both_ways_and_the_url_of_the_server_says_tls(certificates: Certificates):
    async with serve(METHODS, URL, tls=TLS(certificate=certificates.server)) as server:
        assert server.url == f"tls://127.0.0.1:{port_of(server)}"
        async with connect(server.url, METHODS, tls=TLS(ca=certificates.ca)) as session:
            assert server.url in repr(session)
            assert await session.call("ask_back") == "back"
            assert await aio.gather(*(session.call("echo", number) for number in range(50))) == list(range(50))
            assert await session.call("echo", "x" * 500_000) == "x" * 500_000
            (peer,) = server.sessions
        await until(lambda: peer.close_reason is not None)
        assert not isinstance(peer.close_reason, TLSTruncated)
        assert session.close_reason is None


@pytest.mark.row("D6", "S12")
async def test_both_sides_tell_the_certificate_the_version_and_the_protocol(certificates: Certificates):
    inside = TLS(certificate=certificates.server, ca=certificates.ca, alpn=("rpc/2", "rpc/1"))
    outside = TLS(certificate=certificates.client, ca=certificates.ca, alpn=("rpc/1",))
    async with serve(METHODS, URL, tls=inside) as server:
        early = connect(server.url, tls=outside)
        assert (early.peer_certificate(), early.get_extra_info("ssl_object", "not yet")) == (None, "not yet")
        async with early as session:
            assert await session.call("who") == [["email", "ann@client.example"]]
            shown = session.peer_certificate()
            assert shown is not None
            assert ("DNS", "localhost") in shown["subjectAltName"]
            (peer,) = server.sessions
            for side in (session, peer):
                encrypted = side.get_extra_info("ssl_object")
                assert encrypted.selected_alpn_protocol() == "rpc/1"
                assert encrypted.version() == "TLSv1.3"
                assert side.get_extra_info("cipher") == encrypted.cipher()
                assert side.get_extra_info("peercert") == side.peer_certificate()
                assert isinstance(side.get_extra_info("sslcontext"), ssl.SSLContext)
                assert side.get_extra_info("peername")[0] == "127.0.0.1"


@pytest.mark.row("D6", "S12")
async def test_without_tls_there_is_no_certificate_to_tell():
    async with serve(METHODS, "tcp://127.0.0.1:0") as server, connect(server.url) as session:
        assert await session.call("who") is None
        assert session.peer_certificate() is None
        assert session.get_extra_info("cipher") is None


@pytest.mark.row("D6", "H69")
async def test_a_unix_socket_carries_tls_for_whoever_names_the_server(certificates: Certificates, tmp_path: Path):
    path = tmp_path / "s"
    async with serve(METHODS, UnixStream(path), tls=TLS(certificate=certificates.server)) as server:
        assert server.get_addresses() == (UnixStream(path, tls=TLS(certificate=certificates.server)),)
        for name in ("localhost", ""):
            async with connect(server.url, tls=TLS(ca=certificates.ca, server_hostname=name)) as session:
                assert await session.call("echo", name) == name
        with pytest.raises(ssl.SSLCertVerificationError, match=f"{path}.*elsewhere.example"):
            async with connect(server.url, tls=TLS(ca=certificates.ca, server_hostname="elsewhere.example")):
                pass


@pytest.mark.row("D6")
async def test_a_given_socket_is_encrypted_too(certificates: Certificates):
    async with serve(METHODS, URL, tls=TLS(certificate=certificates.server)) as server:
        for name, passes in (("localhost", True), ("elsewhere.example", False)):
            sock = socket.create_connection(("127.0.0.1", port_of(server)))
            session = ClientSession(sock=sock, ssl=TLS(ca=certificates.ca), server_hostname=name)
            if passes:
                async with session:
                    assert await session.call("echo", 1) == 1
            else:
                with pytest.raises(ssl.SSLCertVerificationError, match="elsewhere"):
                    await session.create_connection(nursery=aio.nursery())


@pytest.mark.row("D6")
async def test_a_server_takes_a_bound_socket_and_a_ready_made_context(certificates: Certificates):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)
    sock = socket.create_server(("127.0.0.1", 0))
    async with Server(lambda: ServerSession(methods=METHODS), sock=sock, ssl=context) as server:
        assert server.url.startswith("tls://")
        async with ClientSession(
            "localhost", port_of(server), ssl=ssl.create_default_context(cafile=certificates.ca)
        ) as session:
            assert await session.call("echo", 1) == 1


# --- foreign peers: asyncio's own TLS --------------------------------------------------------------------------------


@pytest.mark.row("D6")
@pytest.mark.asyncio_only("the peer is asyncio's own TLS")
async def test_our_server_speaks_with_asyncio_s_tls(certificates: Certificates):
    async with serve(METHODS, URL, tls=TLS(certificate=certificates.server)) as server:
        context = ssl.create_default_context(cafile=certificates.ca)
        reader, writer = await aio.open_connection("127.0.0.1", port_of(server), ssl=context)
        writer.write(b'{"jsonrpc":"2.0","id":1,"method":"echo","params":["hello"]}\n')
        assert json.loads(await reader.readline())["result"] == "hello"
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def foreign_server(
    certificates: Certificates, accept: Callable[[aio.StreamReader, aio.StreamWriter], Any]
) -> AsyncGenerator[str]:
    """Listen with asyncio's own TLS and give the URL."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)
    listener = await aio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield f"tls://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await listener.wait_closed()


@pytest.mark.row("D6", "H68")
@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.asyncio_only("the peer is asyncio's own TLS")
async def test_a_peer_that_ends_without_close_notify_is_told_from_one_that_says_it(
    certificates: Certificates, clean: bool
):
    async def accept(reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
        await reader.readline()
        if clean:
            writer.close()
            return
        # The socket below TLS is shut down: a FIN, and no alert before it.
        with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as bare:
            bare.shutdown(socket.SHUT_WR)
        await reader.read()
        writer.transport.abort()

    async with foreign_server(certificates, accept) as url, connect(url, tls=TLS(ca=certificates.ca)) as session:
        with pytest.raises(ConnectionLost) as caught:
            await session.call("nothing")
        await session.wait_closed()
        assert isinstance(session.close_reason, TLSTruncated) is not clean
        assert any(isinstance(error, TLSTruncated) for error in chain_of(caught.value)) is not clean


# --- whom a client trusts --------------------------------------------------------------------------------------------

# (the server's certificate, the client's settings, what is said beside the URL)
DISTRUSTED: list[tuple[str, dict[str, Any], str]] = [
    ("server", {"server_hostname": "elsewhere.example"}, "elsewhere.example"),
    ("server", {"server_hostname": "127.0.0.2"}, "127.0.0.2"),
    ("stranger", {}, "unable to get local issuer certificate"),
    ("expired", {}, "certificate has expired"),
    ("server", {"ca": None}, "unable to get local issuer certificate"),
]


@pytest.mark.row("H69")
@pytest.mark.parametrize(("shown", "settings", "text"), DISTRUSTED)
async def test_a_server_that_cannot_be_trusted_is_refused_by_default(
    certificates: Certificates, shown: str, settings: dict[str, Any], text: str
):
    async with serve(METHODS, URL, tls=TLS(certificate=getattr(certificates, shown))) as server:
        session = connect(server.url, tls=TLS(**({"ca": certificates.ca} | settings)))
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            await session.create_connection(nursery=aio.nursery())
        assert server.url in str(caught.value)
        assert text in str(caught.value)
        assert caught.value.verify_code != 0
        await until(lambda: not server.sessions)

        careless = ssl.create_default_context()
        careless.check_hostname = False
        careless.verify_mode = ssl.CERT_NONE
        async with connect(server.url, tls=careless) as session:
            assert await session.call("echo", "at your own risk") == "at your own risk"
            assert session.peer_certificate() == {}  # not read, since nothing vouches for it


@pytest.mark.row("H69")
async def test_the_name_is_the_target_s_and_not_the_proxy_s(certificates: Certificates):
    class Proxy:
        """Dials the server, whatever is asked for."""

        def __init__(self, port: int) -> None:
            self.port = port

        async def create_connection(
            self, protocol_factory: Callable[[], Any], _host: str, _port: int, **_on_trio: Any
        ) -> Any:
            return await aio.create_connection(protocol_factory, "127.0.0.1", self.port)

    async with serve(METHODS, URL, tls=TLS(certificate=certificates.server)) as server:
        proxy = Proxy(port_of(server))
        tls = TLS(ca=certificates.ca)
        async with connect("tls://host.example:443", proxy=proxy, tls=tls) as session:
            assert await session.call("echo", 1) == 1
        with pytest.raises(ssl.SSLCertVerificationError, match=r"tls://elsewhere\.example:443"):
            await connect("tls://elsewhere.example:443", proxy=proxy, tls=tls).create_connection(nursery=aio.nursery())


# --- whom a server lets in -------------------------------------------------------------------------------------------


@pytest.mark.row("D6")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", ["nothing", "stranger"])
async def test_a_server_with_authorities_lets_in_only_whom_they_vouch_for(
    certificates: Certificates, shown: str, version: ssl.TLSVersion
):
    context = ssl.create_default_context(cafile=certificates.ca)
    context.maximum_version = version
    if shown == "stranger":
        context.load_cert_chain(certificates.stranger)
    async with serve(METHODS, URL, tls=TLS(certificate=certificates.server, ca=certificates.ca)) as server:
        # With TLS 1.3 the client's handshake is over before the server has looked: it hears of it when it reads.
        with pytest.raises((ssl.SSLError, ConnectionLost)) as caught:
            async with connect(server.url, tls=context) as session:
                await session.call("echo", 1)
        assert any(isinstance(error, ssl.SSLError) for error in chain_of(caught.value))
        assert not server.sessions
        async with connect(server.url, tls=TLS(ca=certificates.ca, certificate=certificates.client)) as session:
            assert await session.call("echo", 1) == 1


@pytest.mark.row("D6")
async def test_a_certificate_may_be_optional(certificates: Certificates):
    tls = TLS(certificate=certificates.server, ca=certificates.ca, client_certificate_optional=True)
    async with serve(METHODS, URL, tls=tls) as server:
        async with connect(server.url, tls=TLS(ca=certificates.ca)) as session:
            assert await session.call("who") is None
        async with connect(server.url, tls=TLS(ca=certificates.ca, certificate=certificates.client)) as session:
            assert await session.call("who") == [["email", "ann@client.example"]]


# --- before there is a connection ------------------------------------------------------------------------------------


@pytest.mark.row("D6")
async def test_bad_files_fail_before_anybody_is_dialled_or_listened_for(certificates: Certificates, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        missing = TLS(ca=tmp_path / "missing.pem")
        with pytest.raises(FileNotFoundError, match=r"missing\.pem"):
            await connect(f"tls://127.0.0.1:{listener.getsockname()[1]}", tls=missing).create_connection(
                nursery=aio.nursery()
            )
        with pytest.raises(BlockingIOError):
            listener.accept()
    path = tmp_path / "s"
    server = serve(METHODS, UnixStream(path), tls=TLS(certificate=certificates.ca))
    with pytest.raises(ValueError, match="no PEM private key"):
        await server.listen(nursery=aio.nursery())
    assert not path.exists()


@pytest.mark.row("H68", "D6")
async def test_a_server_that_never_shakes_hands_is_waited_for_until_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tls://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(TimeoutError, match=url):
            await connect(url, connect_timeout=0.05).create_connection(nursery=aio.nursery())


@pytest.mark.row("H68", "D6")
async def test_a_server_without_tls_is_found_out():
    async with serve(METHODS, "tcp://127.0.0.1:0") as server:
        url = f"tls://127.0.0.1:{port_of(server)}"
        with pytest.raises(OSError, match=url):
            await connect(url, connect_timeout=10).create_connection(nursery=aio.nursery())


@pytest.mark.row("H60", "D6")
async def test_cancelling_the_handshake_leaves_nothing_behind():
    accepted = aio.Event()

    async def accept(reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
        await reader.readexactly(1)  # a handshake has begun
        accepted.set()
        await reader.read()
        writer.close()

    listener = await aio.start_server(accept, "127.0.0.1", 0)
    session = connect(f"tls://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    dialling = aio.ensure_future(session.create_connection(nursery=aio.nursery()))
    await accepted.wait()
    dialling.cancel()
    with pytest.raises(aio.Cancelled):
        await dialling
    listener.close()
    await listener.wait_closed()


@pytest.mark.row("D6")
async def test_the_transport_of_a_session_is_that_of_tls(certificates: Certificates):
    async with (
        serve(METHODS, URL, tls=TLS(certificate=certificates.server)) as server,
        connect(server.url, tls=TLS(ca=certificates.ca)) as session,
    ):
        assert not transport_of(session).can_write_eof()


@pytest.mark.row("D6", "H68", "R15")
@pytest.mark.parametrize("size", [4, 3_000_000])
async def test_a_peer_that_ends_without_close_notify_still_gets_its_answer_and_ours(
    certificates: Certificates, size: int
) -> None:
    def call_and_cut(port: int) -> int:
        call = b'{"jsonrpc":"2.0","method":"echo","params":["%b"],"id":1}\n' % (b"x" * size)
        context = ssl.create_default_context(cafile=certificates.ca)
        with (
            socket.create_connection(("127.0.0.1", port)) as bare,
            context.wrap_socket(bare, server_hostname="localhost", suppress_ragged_eofs=False) as encrypted,
        ):
            encrypted.sendall(call)
            begun = encrypted.recv(1)
            socket.socket.shutdown(encrypted, socket.SHUT_WR)
            received = len(begun)
            while data := encrypted.recv(65536):  # raises where close_notify is missing
                received += len(data)
            return received

    limits = Limits(max_message=1 << 22, tls_shutdown_timeout=30)
    async with serve(METHODS, URL, tls=TLS(certificate=certificates.server), limits=limits) as server:
        received = await aio.to_thread(call_and_cut, port_of(server))
        assert received == len(b'{"jsonrpc":"2.0","result":"","id":1}\n') + size
