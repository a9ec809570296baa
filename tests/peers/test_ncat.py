# SPDX-License-Identifier: MIT
"""`ncat --ssl` on both sides. At the end of its input it closes the TCP stream without a word in TLS: a cut.

When our side closes, it stays until its own input ends.
"""

import logging
import socket
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
from tieline import TLS, ConnectionLost, RPCError
from tieline.errors import TLSTruncated

pytestmark = pytest.mark.peers


@pytest.fixture
def ncat(need) -> Path:
    path: Path = need("ncat", "apt-get install ncat, or make test-peers")
    return path


URL = "tls://127.0.0.1:0"


# --- our server ------------------------------------------------------------------------------------------------------


def place_of(server: tieline.Server) -> list[str]:
    """Return where the server is, as ncat says it. By its name, since ncat matches no addresses."""
    return ["-4", "localhost", server.url.rpartition(":")[2]]


@asynccontextmanager
async def serving(tls: TLS, certificates: Certificates) -> AsyncIterator[tuple[tieline.Server, list[str]]]:
    """Give a server of ours, and where it is for ncat; others must be able to call it in the end."""
    async with tieline.serve(our_methods(), URL, tls=tls) as server:
        yield server, place_of(server)
        await until(lambda: not server.sessions)
        outside = TLS(ca=certificates.ca, certificate=certificates.client)
        async with tieline.connect(server.url, tls=outside) as session:
            assert await session.call("echo", 1) == 1


async def refused(caplog: pytest.LogCaptureFixture) -> None:
    """Wait until our server has told, in one line, that there is no TLS with somebody."""
    await until(lambda: caplog.records)
    (record,) = caplog.records
    assert record.getMessage().startswith("no TLS with ('127.0.0.1', ")
    assert record.exc_info is None


@pytest.mark.row("D6", "S3", "H68")
async def test_calls_go_both_ways_and_its_end_of_input_is_a_cut(ncat: Path, certificates: Certificates):
    inside = TLS(certificate=certificates.server, alpn=("rpc/1",))
    big = "x" * 1_000_000
    async with (
        serving(inside, certificates) as (server, place),
        carrier(ncat, "--ssl", "--ssl-alpn", "http/1.1,rpc/1", *place, answers=True) as client,
    ):
        assert (await client.call("ask_back", 21))["result"] == 42
        assert (await client.call("echo", big))["result"] == big
        (session,) = server.sessions
        encrypted = session.get_extra_info("ssl_object")
        assert (encrypted.version(), encrypted.selected_alpn_protocol()) == ("TLSv1.3", "rpc/1")
        client.program.end_of_input()
        assert await client.program.ended() == 0
        await session.wait_closed()
        assert type(session.close_reason) is TLSTruncated


@pytest.mark.row("D6")
async def test_a_call_that_is_piped_into_it_is_answered(ncat: Path, certificates: Certificates):
    async with (
        serving(TLS(certificate=certificates.server), certificates) as (_server, place),
        carrier(ncat, "--ssl", *place) as client,
    ):
        client.send({"jsonrpc": "2.0", "method": "size", "params": ["four"], "id": 1})
        client.program.end_of_input()
        assert await client.carried(1) == [{"jsonrpc": "2.0", "result": 4, "id": 1}]
        await client.program.ended()


@pytest.mark.row("D6", "H69")
@pytest.mark.parametrize(("shown", "trusted"), [("server", "ca"), ("server", "stranger"), ("expired", "ca")])
async def test_a_client_that_verifies_takes_our_server_for_what_it_is(
    ncat: Path, certificates: Certificates, shown: str, trusted: str
):
    options = ("-v", "--ssl-verify", "--ssl-trustfile", getattr(certificates, trusted))
    inside = TLS(certificate=getattr(certificates, shown))
    async with (
        tieline.serve(our_methods(), URL, tls=inside) as server,
        carrier(ncat, "--ssl", *options, *place_of(server)) as client,
    ):
        if (shown, trusted) == ("server", "ca"):
            assert (await client.call("echo", 1))["result"] == 1
        else:
            await client.says("Certificate verification failed")
            assert await client.program.ended() == 1
            await until(lambda: not server.sessions)


@pytest.mark.row("D6")
@pytest.mark.parametrize("shown", [None, "stranger", "client"])
async def test_our_server_lets_it_in_with_the_right_certificate_only(
    ncat: Path, certificates: Certificates, caplog: pytest.LogCaptureFixture, shown: str | None
):
    caplog.set_level(logging.INFO, "tieline")
    inside = TLS(certificate=certificates.server, ca=certificates.ca)
    path = None if shown is None else getattr(certificates, shown)
    options = () if path is None else ("--ssl-cert", path, "--ssl-key", path)
    async with (
        serving(inside, certificates) as (server, place),
        carrier(ncat, "-v", "--ssl", *options, *place) as client,
    ):
        if shown == "client":
            assert (await client.call("echo", 1))["result"] == 1
            (session,) = server.sessions
            certificate = session.peer_certificate()
            assert certificate is not None
            assert certificate["subjectAltName"] == (("email", "ann@client.example"),)
            client.program.kill()
        else:
            client.send({"jsonrpc": "2.0", "method": "echo", "params": [1], "id": 1})
            await refused(caplog)
            client.program.end_of_input()
            await client.program.ended()
            assert not client.received
            assert not server.sessions


@pytest.mark.row("D6", "H68")
async def test_plain_text_at_a_tls_port_is_cut(
    ncat: Path, certificates: Certificates, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "tieline")
    async with (
        serving(TLS(certificate=certificates.server), certificates) as (server, place),
        carrier(ncat, *place) as client,
    ):
        client.send({"jsonrpc": "2.0", "method": "echo", "params": [1], "id": 1})
        await refused(caplog)
        client.program.end_of_input()
        await client.program.ended()
        assert not client.received
        assert not server.sessions


# --- our client ------------------------------------------------------------------------------------------------------

# Gives the URL of an ncat that listens, and the program.
Listening = Callable[..., AbstractAsyncContextManager[tuple[str, Carrier]]]


@pytest.fixture
def listening(ncat: Path) -> Listening:
    """Give `listening(*options)`: an `ncat` that listens and answers by hand, or by what the options say."""

    @asynccontextmanager
    async def run(*options: str | Path) -> AsyncIterator[tuple[str, Carrier]]:
        command: tuple[str | Path, ...] = (ncat, "-v", "--ssl", "-l", *options)
        while True:  # it does not tell which port the system chose, so one is chosen here that may be taken meanwhile
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            async with carrier(*command, "127.0.0.1", str(port), answers=True) as server:
                if "Address already in use" not in await server.says(" "):
                    await server.says("Listening on ")
                    yield f"tls://127.0.0.1:{port}", server
                    return

    return run


@pytest.mark.row("D6", "S1", "S3", "H68")
async def test_our_client_talks_with_it_until_it_is_killed(listening: Listening, certificates: Certificates):
    shows = ("--ssl-cert", certificates.server, "--ssl-key", certificates.server)
    big = "x" * 1_000_000
    async with (
        listening(*shows) as (url, server),
        tieline.connect(url, our_methods(), tls=TLS(ca=certificates.ca)) as session,
    ):
        assert await session.call("ask") == 42
        assert await session.call("echo", big) == [big]
        with pytest.raises(RPCError, match="no"):
            await session.call("fail")
        calls = [session.send_request("hang", [number]) for number in range(3)]
        await until(lambda: len(server.received) == 7)
        server.program.kill()
        for call in calls:
            with pytest.raises(ConnectionLost) as caught:
                await call
            assert type(caught.value.__cause__) is TLSTruncated
        assert type(session.close_reason) is TLSTruncated


@pytest.mark.row("D6", "S3", "S7")
async def test_our_clients_talk_with_scripts_behind_it(listening: Listening, certificates: Certificates):
    shows = ("--ssl-cert", certificates.server, "--ssl-key", certificates.server)
    script = f"exec {sys.executable} {HERE / 'line_answers.py'}"
    async with listening(*shows, "--keep-open", "--sh-exec", script) as (url, _server):

        async def one(number: int) -> None:
            async with tieline.connect(url, our_methods(), tls=TLS(ca=certificates.ca)) as session:
                assert await session.call("echo", number) == [number]
                assert await session.call("ask") == 42
                with pytest.raises(ConnectionLost):
                    await session.call("leave")

        await aio.gather(*map(one, range(3)))


@pytest.mark.row("H69")
async def test_the_certificate_that_it_makes_for_itself_is_refused(listening: Listening):
    async with listening() as (url, server):
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
            await tieline.connect(url).create_connection(nursery=aio.nursery())
        assert not server.received
