# SPDX-License-Identifier: MIT
"""stunnel on both sides: TLS for a server that has none, and TLS for a client that has none."""

import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.peers.carriers import Carrier, carrier
from tests.peers.our_side import our_methods
from tests.peers.programs import HERE
from tests.rpc.sessions import until
from tieline import TLS, ConnectionLost, EndOfStream, RPCError
from tieline.errors import TLSTruncated

pytestmark = pytest.mark.peers

# Gives host:port, where it listens, and the program.
Tunnel = Callable[..., AbstractAsyncContextManager[tuple[str, Carrier]]]

BOTH = pytest.mark.parametrize("version", ["TLSv1.3", "TLSv1.2"])


@pytest.fixture
def tunnel(need, tmp_path: Path) -> Tunnel:
    """Give `tunnel(option, ...)`, which runs stunnel with one service that has these options, as "name = value"."""
    program = need("stunnel", "apt-get install stunnel4, or make test-peers")

    @asynccontextmanager
    async def run(*options: str) -> AsyncIterator[tuple[str, Carrier]]:
        ours = ["foreground = yes", "pid =", "syslog = no", "debug = info", "[service]", "accept = 127.0.0.1:0"]
        settings = tmp_path / "stunnel.conf"
        settings.write_text("\n".join([*ours, *options, ""]))
        async with carrier(program, settings) as stunnel:
            bound = await stunnel.says("bound to ")
            await stunnel.says("Accepting new connections")
            yield bound.rpartition(" ")[2], stunnel

    return run


def place_of(server: tieline.Server) -> str:
    """Return host:port, as stunnel says it."""
    return server.url.rpartition("/")[2]


# --- before a server without TLS -------------------------------------------------------------------------------------


@pytest.mark.row("D6", "S3")
@BOTH
async def test_our_client_reaches_our_plain_server_through_it(tunnel: Tunnel, certificates: Certificates, version: str):
    big = "x" * 1_000_000
    terminates = (f"cert = {certificates.server}", f"sslVersionMax = {version}")
    async with (
        tieline.serve(our_methods(), "tcp://127.0.0.1:0") as server,
        tunnel(*terminates, f"connect = {place_of(server)}") as (place, stunnel),
    ):
        async with tieline.connect(f"tls://{place}", our_methods(), tls=TLS(ca=certificates.ca)) as session:
            assert await session.call("ask_back", 21) == 42
            assert await session.call("echo", big) == big
            assert session.get_extra_info("ssl_object").version() == version
            await stunnel.says(f"{version} ciphersuite: {session.get_extra_info('cipher')[0]}")
            (behind,) = server.sessions
        await until(lambda: behind.close_reason)
        assert type(behind.close_reason) is EndOfStream
        await stunnel.says("Connection closed")
        async with tieline.connect(f"tls://{place}", tls=TLS(ca=certificates.ca)) as session:
            assert await session.call("echo", 1) == 1
            (behind,) = server.sessions
            await behind.aclose()
            await session.wait_closed()
            assert type(session.close_reason) is EndOfStream


@pytest.mark.row("D6", "S1", "S3", "S7")
async def test_our_client_talks_with_a_script_behind_it(tunnel: Tunnel, certificates: Certificates):
    script = (f"exec = {sys.executable}", f"execArgs = python {HERE / 'line_answers.py'}")
    async with (
        tunnel(f"cert = {certificates.server}", *script) as (place, _stunnel),
        tieline.connect(f"tls://{place}", our_methods(), tls=TLS(ca=certificates.ca)) as session,
    ):
        assert await session.call("echo", 1, "Grüße") == [1, "Grüße"]
        assert await session.call("ask") == 42
        with pytest.raises(RPCError, match="no"):
            await session.call("fail")
        with pytest.raises(ConnectionLost) as caught:
            await session.call("leave")
        assert type(caught.value.__cause__) is EndOfStream


@pytest.mark.row("D6", "H68", "S7")
@BOTH
async def test_a_tunnel_that_is_killed_has_cut_the_stream(tunnel: Tunnel, certificates: Certificates, version: str):
    terminates = (f"cert = {certificates.server}", f"sslVersionMax = {version}")
    async with (
        tieline.serve(our_methods(), "tcp://127.0.0.1:0") as server,
        tunnel(*terminates, f"connect = {place_of(server)}") as (place, stunnel),
        tieline.connect(f"tls://{place}", tls=TLS(ca=certificates.ca)) as session,
    ):
        assert await session.call("echo", 1) == 1
        calls = [session.send_request("hang") for _ in range(3)]
        (behind,) = server.sessions
        await until(lambda: behind.stats.running == 3)
        stunnel.program.kill()
        for call in calls:
            with pytest.raises(ConnectionLost) as caught:
                await call
            assert type(caught.value.__cause__) is TLSTruncated
        assert type(session.close_reason) is TLSTruncated
        behind.abort()  # its handlers would be waited for: what has reached it is an EOF, behind which answers may go


@pytest.mark.row("D6")
@BOTH
async def test_it_lets_our_client_in_with_the_right_certificate_only(
    tunnel: Tunnel, certificates: Certificates, version: str
):
    demands = (f"cert = {certificates.server}", f"CAfile = {certificates.ca}", "verifyChain = yes")
    async with (
        tieline.serve(our_methods(), "tcp://127.0.0.1:0") as server,
        tunnel(*demands, f"sslVersionMax = {version}", f"connect = {place_of(server)}") as (place, stunnel),
    ):
        for shown in (None, certificates.stranger):
            ours = TLS(ca=certificates.ca, certificate=shown)
            if version == "TLSv1.2":
                with pytest.raises(ssl.SSLError, match="alert"):
                    await tieline.connect(f"tls://{place}", tls=ours).create_connection(nursery=aio.nursery())
                continue
            # Our part of the handshake is over before it has looked: its alert is the first thing that we read.
            async with tieline.connect(f"tls://{place}", tls=ours) as session:
                await session.wait_closed()
                assert isinstance(session.close_reason, ConnectionLost)
                assert isinstance(session.close_reason.__cause__, ssl.SSLError)
                assert "alert" in str(session.close_reason.__cause__)
        assert not server.sessions
        ours = TLS(ca=certificates.ca, certificate=certificates.client)
        async with tieline.connect(f"tls://{place}", tls=ours) as session:
            assert await session.call("echo", 1) == 1
        await stunnel.says("Certificate accepted at depth=0")


# --- in front of a client without TLS --------------------------------------------------------------------------------


@pytest.mark.row("D6", "S3")
@BOTH
async def test_our_plain_client_reaches_our_server_through_it(tunnel: Tunnel, certificates: Certificates, version: str):
    big = "x" * 1_000_000
    trusts = (f"CAfile = {certificates.ca}", "verifyChain = yes", "checkIP = 127.0.0.1", f"sslVersionMax = {version}")
    inside = TLS(certificate=certificates.server, ca=certificates.ca)
    async with (
        tieline.serve(our_methods(), "tls://127.0.0.1:0", tls=inside) as server,
        tunnel("client = yes", f"connect = {place_of(server)}", f"cert = {certificates.client}", *trusts) as (place, _),
    ):
        for is_resumed in (False, True):
            async with tieline.connect(f"tcp://{place}", our_methods()) as session:
                assert await session.call("ask_back", 21) == 42
                assert await session.call("echo", big) == big
                (within,) = server.sessions
                encrypted = within.get_extra_info("ssl_object")
                assert (encrypted.version(), encrypted.session_reused) == (version, is_resumed)
                shown = within.peer_certificate()
                assert shown is not None
                assert shown["subjectAltName"] == (("email", "ann@client.example"),)
                if is_resumed:
                    await within.aclose()
                    await session.wait_closed()
                    assert type(session.close_reason) is EndOfStream
            await within.wait_closed()
            if not is_resumed:
                assert type(within.close_reason) is EndOfStream


@pytest.mark.row("D6", "H68", "S7")
@BOTH
async def test_our_server_hears_of_a_cut_when_it_is_killed_and_serves_others(
    tunnel: Tunnel, certificates: Certificates, version: str
):
    async with (
        tieline.serve(our_methods(), "tls://127.0.0.1:0", tls=TLS(certificate=certificates.server)) as server,
        tunnel("client = yes", f"connect = {place_of(server)}", f"sslVersionMax = {version}") as (place, stunnel),
    ):
        host, port = place.split(":")
        reader, writer = await aio.open_connection(host, int(port))
        await until(lambda: server.sessions)
        (within,) = server.sessions
        call = within.send_request("never_answered")
        assert b"never_answered" in await reader.readline()
        stunnel.program.kill()
        with pytest.raises(ConnectionLost) as caught:
            await call
        assert type(caught.value.__cause__) is TLSTruncated
        assert type(within.close_reason) is TLSTruncated
        writer.close()
        await writer.wait_closed()
        async with tieline.connect(server.url, tls=TLS(ca=certificates.ca)) as other:
            assert await other.call("echo", 2) == 2


# (what our server shows, what it asks for, the options of stunnel, what stunnel says)
REFUSED: list[tuple[str, bool, tuple[str, ...], str]] = [
    ("server", False, ("verifyChain = yes", "checkHost = elsewhere.example"), "CERT: Subject checks failed"),
    ("expired", False, ("verifyChain = yes",), "certificate has expired"),
    ("stranger", False, ("verifyChain = yes",), "unable to get local issuer certificate"),
    ("server", True, (), "alert certificate required"),
    ("server", True, ("sslVersionMax = TLSv1.2",), "alert handshake failure"),
    ("server", False, ("sslVersion = TLSv1.1", "ciphers = ALL:@SECLEVEL=0", "securityLevel = 0"), "protocol version"),
]


@pytest.mark.row("D6", "H68", "H69")
@pytest.mark.parametrize(("shown", "demands", "options", "said"), REFUSED)
async def test_whoever_refuses_whom_nobody_else_is_hurt(
    tunnel: Tunnel, certificates: Certificates, shown: str, demands: bool, options: tuple[str, ...], said: str
):
    inside = TLS(certificate=getattr(certificates, shown), ca=certificates.ca if demands else None)
    outside = ssl.create_default_context()
    outside.check_hostname, outside.verify_mode = False, ssl.CERT_NONE
    outside.load_cert_chain(certificates.client)
    common = ("client = yes", f"CAfile = {certificates.ca}", *options)
    async with (
        tieline.serve(our_methods(), "tls://127.0.0.1:0", tls=inside) as server,
        tieline.connect(server.url, tls=outside) as bystander,
        tunnel(*common, f"connect = {place_of(server)}") as (place, stunnel),
    ):
        async with tieline.connect(f"tcp://{place}") as session:
            with pytest.raises(ConnectionLost):
                await session.call("echo", 1)
        await stunnel.says(said)
        assert await bystander.call("echo", 1) == 1
        await until(lambda: len(server.sessions) == 1)


@pytest.mark.row("D6")
async def test_many_clients_at_once_come_through_it(tunnel: Tunnel, certificates: Certificates):
    async with (
        tieline.serve(our_methods(), "tls://127.0.0.1:0", tls=TLS(certificate=certificates.server)) as server,
        tunnel("client = yes", f"connect = {place_of(server)}") as (place, _stunnel),
    ):

        async def one(number: int) -> None:
            async with tieline.connect(f"tcp://{place}") as session:
                for _ in range(5):
                    assert await session.call("echo", number) == number

        await aio.gather(*map(one, range(30)))
