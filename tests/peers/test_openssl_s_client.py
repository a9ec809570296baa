# SPDX-License-Identifier: MIT
"""`openssl s_client` and our server: what they agree on, whom ours lets in, and that nobody else is hurt."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.peers.openssl_programs import OLD, s_client
from tests.peers.our_side import our_methods
from tests.rpc.sessions import until
from tieline import TLS, ConnectionLost, EndOfStream, Limits
from tieline.errors import TLSTruncated

pytestmark = pytest.mark.peers

BOTH = pytest.mark.parametrize("version", ["-tls1_3", "-tls1_2"])


class Served:
    """A server of ours, its port, and whom it talks with besides the bystander."""

    def __init__(self, server: tieline.Server, bystander: tieline.SessionBase) -> None:
        self._server = server
        self._bystander = bystander
        self.port = int(server.url.rpartition(":")[2])

    @property
    def sessions(self) -> list[tieline.SessionBase]:
        return [session for session in self._server.sessions if session is not self._bystander]

    def session(self) -> tieline.SessionBase:
        (only,) = self.sessions
        return only


@asynccontextmanager
async def serving(
    certificates: Certificates, *, limits: Limits | None = None, **settings: Any
) -> AsyncIterator[Served]:
    """Serve with these TLS settings, and see that a bystander and the server are well in the end."""
    inside = TLS(**({"certificate": certificates.server} | settings))
    outside = TLS(ca=certificates.ca, certificate=certificates.client, server_hostname="")
    async with (
        tieline.serve(our_methods(), "tls://127.0.0.1:0", tls=inside, limits=limits) as server,
        tieline.connect(server.url, tls=outside) as bystander,
    ):
        assert await bystander.call("echo", "before") == "before"
        (its_session,) = server.sessions
        served = Served(server, its_session)
        yield served
        assert await bystander.call("echo", "after") == "after"
        await until(lambda: not served.sessions)


# --- it works --------------------------------------------------------------------------------------------------------


@pytest.mark.row("D6", "S3")
@BOTH
async def test_calls_go_both_ways_and_the_session_tells_version_and_cipher(
    openssl: Path, certificates: Certificates, version: str
):
    checks = ("-CAfile", certificates.ca, "-verify_return_error", "-verify_ip", "127.0.0.1")
    async with (
        serving(certificates) as served,
        s_client(openssl, served.port, version, "-brief", *checks, answers=True) as client,
    ):
        await client.says("Verification: OK")
        assert (await client.call("echo", "Grüße"))["result"] == "Grüße"
        assert (await client.call("ask_back", 21))["result"] == 42
        assert (await client.call("fail", -5, "no"))["error"] == {"code": -5, "message": "no"}
        session = served.session()
        name, _protocol, _bits = session.get_extra_info("cipher")
        agreed = session.get_extra_info("ssl_object").version()
        assert await client.says("Protocol version: ") == f"Protocol version: {agreed}"
        assert await client.says("Ciphersuite: ") == f"Ciphersuite: {name}"
        assert agreed == {"-tls1_3": "TLSv1.3", "-tls1_2": "TLSv1.2"}[version]
        assert session.peer_certificate() is None
        assert await session.call("double", 4) == 8


@pytest.mark.row("D6", "H5")
@BOTH
@pytest.mark.parametrize("pieces", [(), ("-maxfraglen", "512"), ("-max_send_frag", "512")])
async def test_a_megabyte_goes_there_and_back_in_records_of_any_size(
    openssl: Path, certificates: Certificates, version: str, pieces: tuple[str, ...]
):
    big = "x" * 2**20
    async with (
        serving(certificates, limits=Limits(max_message=2 * 2**20)) as served,
        s_client(openssl, served.port, version, "-brief", *pieces) as client,
    ):
        assert (await client.call("echo", big))["result"] == big


@pytest.mark.row("D6")
@pytest.mark.parametrize(
    ("asked", "agreed"),
    [("rpc/1,rpc/2", "rpc/2"), ("rpc/1", "rpc/1"), ("http/1.1", None), (None, None)],
)
async def test_our_order_decides_which_protocol_is_agreed_on(
    openssl: Path, certificates: Certificates, asked: str | None, agreed: str | None
):
    async with (
        serving(certificates, alpn=("rpc/2", "rpc/1")) as served,
        s_client(openssl, served.port, *(() if asked is None else ("-alpn", asked))) as client,
    ):
        await client.says("No ALPN negotiated" if agreed is None else f"ALPN protocol: {agreed}")
        assert (await client.call("echo", 1))["result"] == 1
        assert served.session().get_extra_info("ssl_object").selected_alpn_protocol() == agreed


@pytest.mark.row("D6")
@BOTH
@pytest.mark.parametrize("certificate", [False, True])
async def test_sessions_are_resumed_with_the_certificate_of_their_client(
    openssl: Path, certificates: Certificates, tmp_path: Path, version: str, certificate: bool
):
    tickets = tmp_path / "tickets.pem"
    shown = ("-cert", certificates.client) if certificate else ()
    async with serving(certificates, ca=certificates.ca if certificate else None) as served:
        for option in ("-sess_out", "-sess_in"):
            async with s_client(openssl, served.port, version, "-brief", *shown, option, str(tickets)) as client:
                assert (await client.call("echo", 1))["result"] == 1
                assert served.session().get_extra_info("ssl_object").session_reused is (option == "-sess_in")
                assert bool(served.session().peer_certificate()) is certificate
                client.program.type(b"Q\n")
                await client.program.ended()
            await until(lambda: not served.sessions)


@pytest.mark.row("D6")
async def test_a_client_may_come_again_and_again_with_its_session(openssl: Path, certificates: Certificates):
    async with (
        serving(certificates) as served,
        s_client(openssl, served.port, "-tls1_2", "-reconnect") as client,
    ):
        assert (await client.call("echo", 1))["result"] == 1
        assert [line.partition(",")[0] for line in client.said if ", Cipher is " in line] == ["New", *["Reused"] * 5]
        await until(lambda: len(served.sessions) == 1)


# --- whom it lets in -------------------------------------------------------------------------------------------------


@pytest.mark.row("D6")
@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
async def test_tls_1_0_and_1_1_are_refused(openssl: Path, certificates: Certificates, version: str):
    async with (
        serving(certificates) as served,
        s_client(openssl, served.port, version, *OLD, "-brief") as client,
    ):
        await client.says("alert protocol version")
        assert await client.program.ended() == 1
        assert not served.sessions


# (version, what is shown, what s_client hears)
REFUSED: list[tuple[str, str | None, str]] = [
    ("-tls1_3", None, "alert certificate required"),
    ("-tls1_3", "stranger", "alert unknown ca"),
    ("-tls1_3", "expired", "alert certificate expired"),
    ("-tls1_2", None, "alert handshake failure"),
    ("-tls1_2", "stranger", "alert unknown ca"),
    ("-tls1_2", "expired", "alert certificate expired"),
]


@pytest.mark.row("D6", "H68")
@pytest.mark.parametrize(("version", "shown", "alert"), REFUSED)
async def test_whoever_must_show_a_certificate_and_has_not_the_right_one_is_told_so(
    openssl: Path,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
    version: str,
    shown: str | None,
    alert: str,
):
    caplog.set_level(logging.DEBUG, "tieline")
    options = () if shown is None else ("-cert", getattr(certificates, shown))
    async with (
        serving(certificates, ca=certificates.ca) as served,
        s_client(openssl, served.port, version, "-brief", *options) as client,
    ):
        client.send({"jsonrpc": "2.0", "method": "echo", "params": [1], "id": 1})
        await client.says(alert)
        await client.program.ended()
        assert not client.received
        assert not served.sessions
        (record,) = caplog.records
        assert record.exc_info is None
        assert "127.0.0.1" in record.getMessage()


@pytest.mark.row("D6")
@BOTH
async def test_the_right_certificate_is_known_and_an_optional_one_may_be_missing(
    openssl: Path, certificates: Certificates, version: str
):
    shown = ("-cert", certificates.client)
    for optional in (False, True):
        async with serving(certificates, ca=certificates.ca, client_certificate_optional=optional) as served:
            async with s_client(openssl, served.port, version, "-brief", *shown) as client:
                assert (await client.call("echo", 1))["result"] == 1
                certificate = served.session().peer_certificate()
                assert certificate is not None
                assert certificate["subjectAltName"] == (("email", "ann@client.example"),)
            if optional:
                await until(lambda: not served.sessions)
                async with s_client(openssl, served.port, version, "-brief") as client:
                    assert (await client.call("echo", 1))["result"] == 1
                    assert served.session().peer_certificate() is None
                async with s_client(openssl, served.port, version, "-brief", "-cert", certificates.stranger) as client:
                    await client.says("alert unknown ca")


@pytest.mark.row("D6", "H69")
@pytest.mark.parametrize(
    ("shown", "checks", "reason"),
    [
        ("server", ("-verify_hostname", "elsewhere.example"), "hostname mismatch"),
        ("expired", (), "certificate has expired"),
        ("stranger", (), "unable to get local issuer certificate"),
    ],
)
@BOTH
async def test_a_client_that_does_not_trust_our_server_hurts_nobody(
    openssl: Path, certificates: Certificates, shown: str, checks: tuple[str, ...], reason: str, version: str
):
    trusting = ("-CAfile", certificates.ca, "-verify_return_error")
    good = TLS(ca=certificates.ca)
    async with (
        tieline.serve(our_methods(), "tls://127.0.0.1:0", tls=TLS(certificate=getattr(certificates, shown))) as server,
        s_client(openssl, int(server.url.rpartition(":")[2]), version, *trusting, *checks) as client,
    ):
        await client.says(reason)
        assert await client.program.ended() == 1
        await until(lambda: not server.sessions)
        if shown == "server":
            async with tieline.connect(server.url, tls=good) as session:
                assert await session.call("echo", 1) == 1


@pytest.mark.row("H17")
@BOTH
async def test_tls_at_a_plain_port_is_cut_without_a_word(openssl: Path, version: str):
    async with tieline.serve(our_methods(), "tcp://127.0.0.1:0") as server, tieline.connect(server.url) as bystander:
        async with s_client(openssl, int(server.url.rpartition(":")[2]), version) as client:
            # "wrong version number" would mean that we had said something.
            line = await client.says("error:")
            assert "unexpected eof" in line or "Connection reset" in line or "errno=104" in line
            assert await client.program.ended() == 1
        assert await bystander.call("echo", 1) == 1


# --- what may happen meanwhile ---------------------------------------------------------------------------------------


@pytest.mark.row("D6")
@pytest.mark.parametrize("letter", [b"K\n", b"k\n"])
async def test_keys_change_in_the_middle(openssl: Path, certificates: Certificates, letter: bytes):
    async with (
        serving(certificates) as served,
        s_client(openssl, served.port, "-tls1_3", "-brief", answers=True) as client,
    ):
        for number in range(3):
            assert (await client.call("echo", number))["result"] == number
            client.said.clear()
            client.program.type(letter)
            await client.says("KEYUPDATE")
            assert (await client.call("ask_back", number))["result"] == 2 * number
        assert (await client.call("echo", "x" * 100_000))["result"] == "x" * 100_000


@pytest.mark.row("D6", "H68")
async def test_a_client_that_wants_to_renegotiate_is_refused(openssl: Path, certificates: Certificates):
    async with (
        serving(certificates) as served,
        s_client(openssl, served.port, "-tls1_2", "-brief") as client,
    ):
        assert (await client.call("echo", 1))["result"] == 1
        client.program.type(b"R\n")
        await client.says("no renegotiation")  # which it takes for a reason to leave


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("D6", "H68", "S7")
@BOTH
async def test_a_clean_end_is_told_from_a_cut(openssl: Path, certificates: Certificates, version: str):
    for end, reason in (("leaves", EndOfStream), ("killed", TLSTruncated)):
        async with serving(certificates) as served:
            async with s_client(openssl, served.port, version, "-brief") as client:
                assert (await client.call("echo", 1))["result"] == 1
                session = served.session()
                calls = [session.send_request("hang", [number]) for number in range(3)]
                await client.carried(4)
                if end == "leaves":
                    client.program.type(b"Q\n")
                else:
                    client.program.kill()
                for call in calls:
                    with pytest.raises(ConnectionLost) as caught:
                        await call
                    assert isinstance(caught.value.__cause__, reason)
            assert type(session.close_reason) is reason


@pytest.mark.row("D6")
@BOTH
async def test_it_sees_the_clean_end_of_our_server(openssl: Path, certificates: Certificates, version: str):
    async with serving(certificates) as served, s_client(openssl, served.port, version, "-msg") as client:
        assert (await client.call("echo", 1))["result"] == 1
        closing = aio.create_task(served.session().aclose())
        await client.says("<<<", "Alert [length 0002], warning close_notify")
        assert await client.program.ended() == 0
        await closing


@pytest.mark.row("D6", "H8")
async def test_half_a_message_is_not_executed_when_its_typist_leaves(openssl: Path, certificates: Certificates):
    async with serving(certificates) as served:
        async with s_client(openssl, served.port, "-brief") as client:
            assert (await client.call("echo", 1))["result"] == 1
            session = served.session()
            client.program.type(b'{"jsonrpc":"2.0","method":"note","par')
            client.program.end_of_input()
            assert await client.program.ended() == 0
        await until(lambda: session.close_reason)
        assert isinstance(session.close_reason, tieline.StreamTruncated)
