# SPDX-License-Identifier: MIT
"""Our client and `openssl s_server`: what they agree on, what changes meanwhile, and how a connection may end."""

import re
import ssl
import warnings
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.peers.carriers import Carrier
from tests.peers.openssl_programs import OLD, chain_of, s_server
from tests.peers.our_side import our_methods
from tieline import TLS, ConnectionLost, EndOfStream, JSONRPCv2, RPCError
from tieline.errors import TLSTruncated

pytestmark = pytest.mark.peers

Serving = Callable[..., AbstractAsyncContextManager[tuple[str, Carrier]]]


@pytest.fixture
def serving(openssl: Path) -> Serving:
    """Give `serving(certificate, *options)`: see `s_server`."""
    return partial(s_server, openssl)


# --- it works --------------------------------------------------------------------------------------------------------


@pytest.mark.row("D6", "S3")
@pytest.mark.parametrize(("version", "option"), [("TLSv1.3", "-tls1_3"), ("TLSv1.2", "-tls1_2")])
async def test_calls_go_both_ways_and_the_session_tells_version_and_cipher(
    serving: Serving, certificates: Certificates, version: str, option: str
):
    async with (
        serving(certificates.server, option) as (url, server),
        tieline.connect(url, our_methods(), tls=TLS(ca=certificates.ca)) as session,
    ):
        assert await session.call("echo", 1, "Grüße") == [1, "Grüße"]
        assert await session.call("ask") == 42
        with pytest.raises(RPCError, match="no"):
            await session.call("fail")
        await session.notify("tell", 1)
        calls = (session.call("echo", number) for number in range(50))
        assert await aio.gather(*calls) == [[number] for number in range(50)]
        assert session.get_extra_info("ssl_object").version() == version
        name, _protocol, _bits = session.get_extra_info("cipher")
        assert await server.says("CIPHER is ") == f"CIPHER is {name}"
        shown = session.peer_certificate()
        assert shown is not None
        assert ("IP Address", "127.0.0.1") in shown["subjectAltName"]


@pytest.mark.row("D6", "H5")
@pytest.mark.parametrize("option", ["-tls1_3", "-tls1_2"])
async def test_a_megabyte_goes_there_and_back(serving: Serving, certificates: Certificates, option: str):
    big = "x" * 2**20
    async with (
        serving(certificates.server, option) as (url, _server),
        tieline.connect(url, tls=TLS(ca=certificates.ca)) as session,
    ):
        assert await session.call("echo", big) == [big]


@pytest.mark.row("D6")
async def test_its_order_decides_which_protocol_is_agreed_on(serving: Serving, certificates: Certificates):
    tls = TLS(ca=certificates.ca, alpn=("rpc/1", "rpc/2"))
    async with serving(certificates.server, "-alpn", "rpc/2,rpc/1") as (url, server):
        async with tieline.connect(url, tls=tls) as session:
            assert await session.call("echo", 1) == [1]
            assert session.get_extra_info("ssl_object").selected_alpn_protocol() == "rpc/2"
        assert await server.says("ALPN protocols advertised by the client: rpc/1, rpc/2")
        async with tieline.connect(url, tls=replace(tls, alpn=())) as session:
            assert await session.call("echo", 1) == [1]
            assert session.get_extra_info("ssl_object").selected_alpn_protocol() is None
        # s_server takes no stranger, as RFC 7301, section 3.2, says.
        with pytest.raises(ssl.SSLError, match=f"{url}.*no application protocol"):
            await tieline.connect(url, tls=replace(tls, alpn=("http/1.1",))).create_connection(nursery=aio.nursery())


@pytest.mark.row("D6")
async def test_the_name_that_was_dialled_is_sent_and_an_address_is_not(serving: Serving, certificates: Certificates):
    two = ("-cert2", certificates.server, "-key2", certificates.server)
    # By another name than this one, s_server ends the handshake.
    async with serving(certificates.expired, "-servername", "localhost", "-servername_fatal", *two) as (url, server):
        async with tieline.connect(url.replace("127.0.0.1", "localhost"), tls=TLS(ca=certificates.ca)) as session:
            assert await session.call("echo", 1) == [1]
        assert await server.says('Hostname in TLS extension: "localhost"')
        named = TLS(ca=certificates.ca, server_hostname="host.example")
        with pytest.raises(ssl.SSLError, match="unrecognized name"):
            await tieline.connect(url, tls=named).create_connection(nursery=aio.nursery())
        # Without any name it shows the first certificate.
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            await tieline.connect(url, tls=TLS(ca=certificates.ca)).create_connection(nursery=aio.nursery())


# --- versions --------------------------------------------------------------------------------------------------------


@pytest.mark.row("D6")
@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
async def test_tls_1_0_and_1_1_are_refused_unless_a_context_allows_them(
    serving: Serving, certificates: Certificates, option: str
):
    async with serving(certificates.server, option, *OLD) as (url, _server):
        with pytest.raises(ssl.SSLError, match=f"{url}.*alert protocol version"):
            await tieline.connect(url, tls=TLS(ca=certificates.ca)).create_connection(nursery=aio.nursery())
        context = ssl.create_default_context(cafile=certificates.ca)
        context.set_ciphers(OLD[1])
        with warnings.catch_warnings():  # that this is deprecated is well known
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
        async with tieline.connect(url, tls=context) as session:
            assert await session.call("echo", 1) == [1]
            assert session.get_extra_info("ssl_object").version() in {"TLSv1", "TLSv1.1"}


# --- our certificate -------------------------------------------------------------------------------------------------


@pytest.mark.row("D6")
@pytest.mark.parametrize("option", ["-tls1_3", "-tls1_2"])
async def test_it_sees_our_certificate(serving: Serving, certificates: Certificates, option: str):
    demand = ("-Verify", "1", "-CAfile", certificates.ca, "-verify_return_error")
    ours = TLS(ca=certificates.ca, certificate=certificates.client)
    async with serving(certificates.server, option, *demand) as (url, server):
        async with tieline.connect(url, tls=ours) as session:
            assert await session.call("echo", 1) == [1]
        await server.says("Client certificate")
    async with serving(certificates.server, option, "-verify", "1", *demand[2:]) as (url, _server):
        for tls in (ours, TLS(ca=certificates.ca)):
            async with tieline.connect(url, tls=tls) as session:
                assert await session.call("echo", 1) == [1]


@pytest.mark.row("D6")
@pytest.mark.parametrize("option", ["-tls1_3", "-tls1_2"])
@pytest.mark.parametrize(
    ("shown", "alert"), [("nothing", "certificate required|handshake failure"), ("stranger", "unknown ca")]
)
async def test_it_refuses_us_without_the_right_one(
    serving: Serving, certificates: Certificates, shown: str, alert: str, option: str
):
    tls = TLS(ca=certificates.ca, certificate=certificates.stranger if shown == "stranger" else None)
    demand = ("-Verify", "1", "-CAfile", certificates.ca, "-verify_return_error")
    async with serving(certificates.server, option, *demand) as (url, server):
        if option == "-tls1_2":
            with pytest.raises(ssl.SSLError, match=f"{url}.*alert ({alert})"):
                await tieline.connect(url, tls=tls).create_connection(nursery=aio.nursery())
        else:
            # Our part of the handshake is over before s_server has looked at the certificate: it tells us afterwards.
            async with tieline.connect(url, tls=tls) as session:
                with pytest.raises(ConnectionLost) as caught:
                    await session.call("echo", 1)
                (cause,) = (one for one in chain_of(caught.value) if isinstance(one, ssl.SSLError))
                assert re.search(f"alert ({alert})", str(cause))
        assert not server.received


# --- what may happen meanwhile ---------------------------------------------------------------------------------------


KEY_UPDATE = "TLS 1.3, Handshake [length 0005], KeyUpdate"
HELLO_REQUEST = "TLS 1.2, Handshake [length 0004], HelloRequest"

# (options, letter, what it sends then, what it receives at the latest with the next message after we have read that)
CHANGES = [
    pytest.param(("-tls1_3",), b"K\n", KEY_UPDATE, KEY_UPDATE, id="new keys for both"),
    pytest.param(("-tls1_3",), b"k\n", KEY_UPDATE, "RecordHeader", id="new keys"),
    pytest.param(("-tls1_2",), b"r\n", HELLO_REQUEST, "ClientHello", id="renegotiation"),
    pytest.param(
        ("-tls1_2", "-no_resumption_on_reneg"),
        b"R\n",
        HELLO_REQUEST,
        "CertificateVerify",
        id="renegotiation with a certificate",
    ),
]


@pytest.mark.row("D6")
@pytest.mark.parametrize(("options", "letter", "sent", "received"), CHANGES)
async def test_keys_change_in_the_middle(
    serving: Serving, certificates: Certificates, options: tuple[str, ...], letter: bytes, sent: str, received: str
):
    ours = TLS(ca=certificates.ca, certificate=certificates.client)
    async with (
        serving(certificates.server, *options, "-msg") as (url, server),
        tieline.connect(url, tls=ours) as session,
    ):
        for number in range(3):
            assert await session.call("echo", number) == [number]
            server.said.clear()
            server.program.type(letter)
            await server.says(f">>> {sent}")
            for _ in range(2):  # the first call may be under way before we have read it; with its answer we have
                # In one record: between two, what -msg tells would stand in the middle of the line.
                assert await session.call("echo", "x" * 10_000) == ["x" * 10_000]
            if number == 0:  # for a certificate it asks once
                await server.says("<<<", received)


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("D6", "H68", "S7")
@pytest.mark.parametrize("option", ["-tls1_3", "-tls1_2"])
@pytest.mark.parametrize("end", ["killed", "leaves"])
async def test_an_end_without_close_notify_is_told_as_truncation(
    serving: Serving, certificates: Certificates, end: str, option: str
):
    async with (
        serving(certificates.server, option) as (url, server),
        tieline.connect(url, tls=TLS(ca=certificates.ca)) as session,
    ):
        calls = [session.send_request("hang", [number]) for number in range(3)]
        await server.carried(3)
        if end == "killed":
            server.program.kill()
        else:
            server.program.type(b"Q\n")  # closes the socket and then has no way to say close_notify
        for call in calls:
            with pytest.raises(ConnectionLost) as caught:
                await call
            assert isinstance(caught.value.__cause__, TLSTruncated)
        await session.wait_closed()
        assert isinstance(session.close_reason, TLSTruncated)


class Closing(JSONRPCv2):
    """Says what `s_server -rev` takes for a wish to close."""

    @classmethod
    def request_message(cls, item: Any, request_id: Any = None) -> bytes:
        return b"CLOSE"


@pytest.mark.row("D6", "H68", "S7")
@pytest.mark.parametrize("option", ["-tls1_3", "-tls1_2"])
async def test_an_end_with_close_notify_is_a_clean_end(serving: Serving, certificates: Certificates, option: str):
    async with (
        serving(certificates.server, option, "-rev") as (url, _server),
        tieline.connect(url, tls=TLS(ca=certificates.ca), rpc_protocol=Closing) as session,
    ):
        with pytest.raises(ConnectionLost) as caught:
            await session.call("close")
        assert isinstance(caught.value.__cause__, EndOfStream)
        await session.wait_closed()
        assert isinstance(session.close_reason, EndOfStream)


@pytest.mark.row("D6")
async def test_it_sees_our_clean_end(serving: Serving, certificates: Certificates):
    async with serving(certificates.server, "-msg") as (url, server):
        async with tieline.connect(url, tls=TLS(ca=certificates.ca)) as session:
            assert await session.call("echo", 1) == [1]
        await server.says("<<< TLS 1.3, Alert [length 0002], warning close_notify")
        await server.says("DONE")


@pytest.mark.row("D6", "H68", "S7")
async def test_plain_text_in_the_middle_breaks_the_connection(serving: Serving, certificates: Certificates):
    async with (
        serving(certificates.server) as (url, server),
        tieline.connect(url, tls=TLS(ca=certificates.ca)) as session,
    ):
        call = session.send_request("hang")
        await server.carried(1)
        server.program.type(b"P\n")
        with pytest.raises(ConnectionLost) as caught:
            await call
        assert any(isinstance(one, ssl.SSLError) for one in chain_of(caught.value))
        await server.says("alert")  # ours, which says so
