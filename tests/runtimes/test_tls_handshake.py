# SPDX-License-Identifier: MIT
"""runtimes/tls: handshakes of two layers back to back, in memory, at every cut and against what is none."""

from __future__ import annotations

import errno
import random
import ssl

import pytest

from tests.certificates import Certificates
from tests.runtimes.tls_scene import Upper, client_context, scene, server_context
from tieline.errors import ClosedError, TLSTruncated
from tieline.runtimes.tls.records import Records

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def of_version(certificates: Certificates, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = server_context(certificates)
    context.maximum_version = version
    return context


@pytest.mark.row("D6", "T7", "H1")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_bytes_may_be_cut_anywhere(certificates: Certificates, version: ssl.TLSVersion, size: int) -> None:
    stage = scene(certificates, server=of_version(certificates, version)).begin().run(size)
    client, server = stage.ends()
    assert client.shaken == server.shaken == [None]
    assert client.upper.transport.get_extra_info("ssl_object").version() == version.name.replace("v1_", "v1.")
    client.layer.write(b"question")
    stage.run(size)
    server.layer.write(b"answer")
    server.layer.close()
    stage.run(size)
    assert (client.upper.data, server.upper.data) == (b"answer", b"question")
    assert client.told == ["made", "data", "eof", "lost"]
    assert server.told == ["made", "data", "lost"]
    assert client.upper.error is server.upper.error is None


@pytest.mark.row("D6", "T7")
def test_what_comes_glued_to_the_handshake_is_delivered_behind_it(certificates: Certificates) -> None:
    client = Upper()
    client.on_made = lambda: client.transport.write(b"early" * 10_000)  # with the client's last words, in one read
    stage = scene(certificates, uppers=(client, Upper())).begin().run()
    assert stage.server.told == ["made", "data"]
    assert stage.server.upper.data == b"early" * 10_000


@pytest.mark.row("T2", "T7")
def test_a_protocol_that_pauses_as_soon_as_it_is_made_gets_nothing_yet(certificates: Certificates) -> None:
    client, server = Upper(), Upper()
    client.on_made = lambda: client.transport.write(b"early")
    server.on_made = lambda: server.transport.pause_reading()  # noqa: PLW0108  # there is no transport yet
    stage = scene(certificates, uppers=(client, server)).begin().run()
    assert server.told == ["made"]
    server.transport.resume_reading()
    assert server.told == ["made"]  # never from inside
    stage.run()
    assert server.data == b"early"


@pytest.mark.row("H68", "D6")
def test_a_handshake_that_stalls_is_cut_in_time(certificates: Certificates) -> None:
    stage = scene(certificates).begin()
    stage.client.pipe.move(100)
    stage.client.pipe.is_blocked = True
    stage.host.move_to(stage.host.time + 9.9)
    assert not stage.server.pipe.is_going
    stage.host.move_to(stage.host.time + 0.2)
    stage.host.turn()
    (error,) = stage.server.shaken
    assert isinstance(error, TimeoutError)
    assert (error.errno, error.strerror) == (errno.ETIMEDOUT, "no TLS handshake within 10 s")
    assert stage.server.pipe.is_lost
    assert stage.server.told == []


@pytest.mark.row("D6")
def test_no_timer_is_left_behind_a_handshake_or_needed_for_it(certificates: Certificates) -> None:
    stage = scene(certificates, handshake_timeout=None).begin()
    assert stage.host.armed() == []
    assert scene(certificates).begin().run().host.armed() == []


NO_HANDSHAKES = [
    (b"GET / HTTP/1.1\r\n\r\n", "HTTP_REQUEST"),
    (b'{"jsonrpc":"2.0","id":1,"method":"m"}\n', "WRONG_VERSION_NUMBER"),
    (bytes(1000), "WRONG_VERSION_NUMBER"),
    (bytes.fromhex("170303000178"), "UNEXPECTED_MESSAGE"),
    (bytes.fromhex("160301002d010000290301" + "11" * 32 + "000002002f0100"), "UNSUPPORTED_PROTOCOL"),  # TLS 1.0
]


@pytest.mark.row("H68", "H10")
@pytest.mark.parametrize(("data", "reason"), NO_HANDSHAKES)
def test_what_is_no_handshake_is_refused_at_once(certificates: Certificates, data: bytes, reason: str) -> None:
    server = scene(certificates).begin().server
    server.layer.data_received(data)
    stage_host = server.pipe.host
    alert = bytes(server.pipe.unsent)
    server.pipe.move(1 << 20)
    stage_host.turn()
    (error,) = server.shaken
    assert isinstance(error, ssl.SSLError)
    assert error.reason == reason
    assert alert[:1] in {b"\x15", b""}  # an alert, or (for HTTP) nothing
    assert server.pipe.is_lost
    assert server.told == []


@pytest.mark.row("H68", "H10")
def test_random_bytes_never_do_worse_than_end_a_handshake(certificates: Certificates) -> None:
    chance = random.Random(68)
    for _ in range(200):
        server = scene(certificates).begin().server
        server.layer.data_received(bytes([0x16, 3]) + chance.randbytes(chance.randrange(1, 4000)))
        server.layer.eof_received()
        server.pipe.move(1 << 20)
        server.pipe.host.turn()
        assert server.told == []
        assert isinstance(server.shaken[0], ssl.SSLError | TLSTruncated)


@pytest.mark.row("D6", "H68")
def test_a_handshake_that_ends_anywhere_is_truncated(certificates: Certificates) -> None:
    whole = scene(certificates).begin().run(64)
    steps = (len(whole.client.pipe.said) + len(whole.server.pipe.said)) // 64
    for count in range(steps):
        stage = scene(certificates).begin()
        for _ in range(count // 2):
            stage.client.pipe.move(64)
            stage.server.pipe.move(64)
        if stage.server.shaken or stage.client.shaken:
            break
        for end in stage.ends():
            end.layer.eof_received()
            end.pipe.unsent.clear()
            end.pipe._maybe_go()
        stage.host.turn()
        for end in stage.ends():
            assert end.told == []
            assert isinstance(end.shaken[0], TLSTruncated)
            assert len(end.shaken) == 1


@pytest.mark.row("H69")
@pytest.mark.parametrize("shown", ["stranger", "expired"])
def test_the_server_is_told_by_an_alert_why_a_client_refuses_it(certificates: Certificates, shown: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(getattr(certificates, shown))
    stage = scene(certificates, server=context).begin().run()
    (refusal,), (heard,) = stage.client.shaken, stage.server.shaken
    assert isinstance(refusal, ssl.SSLCertVerificationError)
    assert isinstance(heard, ssl.SSLError)
    assert "alert" in str(heard)
    assert stage.client.told == stage.server.told == []
    assert stage.client.pipe.is_lost
    assert stage.server.pipe.is_lost


@pytest.mark.row("D6")
def test_a_missing_client_certificate_is_told_on_the_first_read(certificates: Certificates) -> None:
    stage = scene(certificates, server=server_context(certificates, ca=certificates.ca)).begin().run()
    # With TLS 1.3 the client is done before the server looks at its certificate.
    assert stage.client.shaken == [None]
    assert stage.client.told == ["made", "lost"]
    assert isinstance(stage.client.upper.error, ssl.SSLError)
    assert "certificate required" in str(stage.client.upper.error)
    (error,) = stage.server.shaken
    assert "peer did not return a certificate" in str(error)
    assert stage.server.told == []


@pytest.mark.row("D6")
def test_a_reset_in_the_handshake_is_reported_as_it_is(certificates: Certificates) -> None:
    stage = scene(certificates).begin()
    reset = ConnectionResetError(104, "Connection reset by peer")
    stage.server.layer.connection_lost(reset)
    assert stage.server.shaken == [reset]
    assert stage.server.told == []


def test_settings_that_cannot_be_are_the_callers_fault(certificates: Certificates) -> None:
    with pytest.raises(ValueError, match="server_hostname"):
        Records(client_context(certificates))
    with pytest.raises(ssl.SSLError):
        Records(server_context(certificates), server_hostname="localhost")


def test_to_be_closed_before_the_handshake_is_no_error_of_the_peer(certificates: Certificates) -> None:
    stage = scene(certificates).begin()
    stage.client.layer.close()
    stage.run()
    assert isinstance(stage.client.shaken[0], ClosedError)
    assert isinstance(stage.server.shaken[0], TLSTruncated)
