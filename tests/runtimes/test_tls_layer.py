# SPDX-License-Identifier: MIT
"""runtimes/tls: handshakes, data and flow control of two layers back to back, in memory."""

from __future__ import annotations

import gc
import random
import ssl
import weakref
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.runtimes.tls_scene import Scene, Upper, client_context, opened, scene, server_context
from tieline.errors import ClosedError, RemoteProtocolError, TLSTruncated
from tieline.runtimes.tls import Records

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def of_version(certificates: Certificates, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = server_context(certificates)
    context.maximum_version = version
    return context


# --- handshakes ------------------------------------------------------------------------------------------------------


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
    assert str(error) == "no TLS handshake within 10 s"
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


# --- data ------------------------------------------------------------------------------------------------------------


@pytest.mark.row("T7", "T2")
def test_all_records_of_one_read_are_delivered_once(certificates: Certificates) -> None:
    stage = opened(certificates)
    for number in range(50):
        stage.client.layer.write(b"%d," % number)
    stage.client.layer.writelines([b"a", b"", bytearray(b"b"), memoryview(b"c")])
    stage.run()
    assert stage.server.told == ["made", "data"]
    assert stage.server.upper.data == b",".join(b"%d" % number for number in range(50)) + b",abc"


@pytest.mark.row("T3", "H5")
@pytest.mark.parametrize("size", [1, 16_384, 16_385, 262_144, 262_145, 1_000_001])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_size_and_kind_of_data_arrives_whole(certificates: Certificates, size: int, kind: Any) -> None:
    stage = opened(certificates)
    data = random.Random(size).randbytes(size)
    given = kind(data)
    stage.client.layer.write(given)
    if kind is bytearray:
        given.clear()  # what must be kept was copied
    stage.run(50_000)
    assert stage.server.upper.data == data


@pytest.mark.row("T3")
def test_nothing_is_written_for_nothing(certificates: Certificates) -> None:
    stage = opened(certificates)
    stage.client.layer.write(b"")
    stage.client.layer.writelines([])
    assert not stage.client.pipe.unsent
    with pytest.raises(TypeError):
        stage.client.layer.write("text")  # type: ignore[arg-type]


@pytest.mark.row("D6", "T3")
def test_a_megabyte_goes_both_ways_at_once(certificates: Certificates) -> None:
    stage = opened(certificates)
    data = random.Random(1).randbytes(1 << 20)
    for end in stage.ends():
        end.layer.set_write_buffer_limits(high=65536)
        for start in range(0, len(data), 100_000):
            end.layer.write(data[start : start + 100_000])
    stage.run(10_007)
    for end in stage.ends():
        assert end.upper.data == data
        assert [name for name in end.told if name in {"full", "room"}] == ["full", "room"]
        assert not end.pipe.is_lost


@pytest.mark.row("T4", "T3")
def test_writing_is_paused_once_and_resumed_once(certificates: Certificates) -> None:
    stage = opened(certificates)
    client = stage.client
    client.layer.set_write_buffer_limits(high=1000, low=100)
    assert client.layer.get_write_buffer_limits() == (100, 1000)
    for _ in range(5):
        client.layer.write(b"x" * 400)
    assert client.told == ["made", "full"]
    assert client.layer.get_write_buffer_size() > 2000
    client.pipe.move(1500)
    assert client.told == ["made", "full"]
    stage.run()
    assert client.told == ["made", "full", "room"]
    assert client.layer.get_write_buffer_size() == 0


@pytest.mark.row("T3")
def test_long_data_is_dropped_when_the_protocol_aborts_on_being_full(certificates: Certificates) -> None:
    stage = opened(certificates)
    client = stage.client
    client.upper.on_full = client.layer.abort
    client.layer.write(bytes(5_000_000))
    assert client.layer.get_write_buffer_size() == 0
    stage.run()
    assert client.told == ["made", "full", "lost"]


@pytest.mark.row("T2")
def test_nothing_comes_while_reading_is_paused(certificates: Certificates) -> None:
    stage = opened(certificates)
    server = stage.server
    for _ in range(2):
        server.layer.pause_reading()
        server.layer.pause_reading()
        assert not server.layer.is_reading()
        assert server.pipe.is_paused
        stage.client.layer.write(b"held")
        stage.run()
    server.pipe.is_paused = False  # a transport that was about to deliver
    stage.client.pipe.move(1 << 20)
    server.pipe.is_paused = True
    for _ in range(2):
        server.layer.resume_reading()
        assert len(server.upper.data) == 0
    stage.run()
    assert server.upper.data == b"heldheld"
    assert server.told == ["made", "data"]
    assert server.layer.is_reading()


@pytest.mark.row("T2")
def test_to_pause_again_before_the_turn_keeps_what_is_held(certificates: Certificates) -> None:
    stage = opened(certificates)
    server = stage.server
    server.layer.pause_reading()
    server.layer.data_received(stage_output(stage))
    server.layer.resume_reading()
    server.layer.pause_reading()
    stage.run()
    assert server.told == ["made"]
    server.layer.resume_reading()
    stage.run()
    assert server.upper.data == b"data"


def stage_output(stage: Scene) -> bytes:
    """Return what the client sends for a write, taken out of its pipe."""
    stage.client.layer.write(b"data")
    output = bytes(stage.client.pipe.unsent)
    stage.client.pipe.unsent.clear()
    return output


@pytest.mark.row("H47")
def test_to_take_a_breath_is_to_read_nothing_until_the_next_turn(certificates: Certificates) -> None:
    stage = opened(certificates)
    server = stage.server
    seen: list[bool] = []
    server.layer.take_breath()
    seen.append(server.pipe.is_paused)
    stage.host.turn()
    seen.append(server.pipe.is_paused)
    server.layer.take_breath()
    server.layer.pause_reading()
    stage.host.turn()
    seen.append(server.pipe.is_paused)  # as the protocol wants
    assert seen == [True, False, True]


class Buffered(Upper):
    """A buffered protocol whose buffer holds four bytes; pauses behind the first one if told so."""

    pauses = False

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(4)

    def __getattribute__(self, name: str) -> Any:
        if name == "data_received":
            raise AttributeError(name)
        return super().__getattribute__(name)

    def get_buffer(self, sizehint: int) -> bytearray:
        assert sizehint > 0
        return self.buffer

    def buffer_updated(self, size: int) -> None:
        assert self.transport.is_reading()
        self.data += self.buffer[:size]
        self.told.append("data")
        if self.pauses:
            self.transport.pause_reading()


@pytest.mark.row("T7")
def test_a_buffered_protocol_is_fed_through_its_buffer(certificates: Certificates) -> None:
    stage = opened(certificates, uppers=(Upper(), Buffered()))
    stage.client.layer.write(b"0123456789")
    stage.run()
    assert stage.server.told == ["made", "data", "data", "data"]
    stage.server.upper.pauses = True
    stage.client.layer.write(b"abcdefghij")
    stage.client.layer.close()
    for expected in (b"abcd", b"abcdefgh", b"abcdefghij"):
        stage.run()
        assert stage.server.upper.data == b"0123456789" + expected
        assert stage.server.told[-1] == "data"  # the end waits behind the data
        stage.server.layer.resume_reading()
    stage.run()
    assert stage.server.told[-2:] == ["eof", "lost"]


def test_a_buffered_protocol_must_have_a_buffer(certificates: Certificates) -> None:
    stage = opened(certificates, uppers=(Upper(), Buffered()))
    stage.server.upper.buffer = bytearray()
    stage.client.layer.write(b"data")
    with pytest.raises(RuntimeError, match="empty buffer"):
        stage.client.pipe.move(1000)


def test_the_protocol_can_be_exchanged(certificates: Certificates) -> None:
    stage = opened(certificates)
    second = Upper(told=["made"], transport=stage.server.layer)
    stage.server.layer.set_protocol(second)
    assert stage.server.layer.get_protocol() is second
    stage.client.layer.write(b"data")
    stage.client.layer.close()
    stage.run()
    assert second.told == ["made", "data", "eof", "lost"]
    assert stage.server.told == ["made"]
    assert stage.server.layer.get_protocol() is None


@pytest.mark.row("T1")
def test_the_layer_tells_of_tls_and_of_the_transport_below(certificates: Certificates) -> None:
    stage = scene(certificates)
    layer = stage.client.layer
    assert layer.get_extra_info("peername", "nobody") == "nobody"
    assert layer.get_extra_info("peercert") is None
    assert layer.get_write_buffer_limits() == (0, 0)
    assert layer.get_write_buffer_size() == 0
    layer.set_write_buffer_limits(5)
    stage.begin().run()
    ssl_object = layer.get_extra_info("ssl_object")
    assert isinstance(ssl_object, ssl.SSLObject)
    assert layer.get_extra_info("peercert") == ssl_object.getpeercert()
    assert layer.get_extra_info("peercert")["subjectAltName"]
    assert layer.get_extra_info("cipher") == ssl_object.cipher()
    assert layer.get_extra_info("compression", "x") is None
    assert isinstance(layer.get_extra_info("sslcontext"), ssl.SSLContext)
    assert layer.get_extra_info("peername") == "somebody"
    assert layer.get_extra_info("nonsense", 5) == 5
    assert not layer.can_write_eof()
    with pytest.raises(NotImplementedError):
        layer.write_eof()


# --- bounds and memory -----------------------------------------------------------------------------------------------


class Chatty(Records):
    """TLS in which every record of the peer makes us say something, as KeyUpdate does."""

    __slots__ = ()

    @property
    def has_output(self) -> bool:
        return self.is_ready or self._outgoing.pending > 0

    def data_to_send(self) -> bytes:
        return super().data_to_send() or bytes(30)


@pytest.mark.row("H68")
def test_a_peer_that_has_us_talk_and_does_not_listen_is_cut(certificates: Certificates) -> None:
    records = (
        Records(client_context(certificates), server_hostname="localhost"),
        Chatty(server_context(certificates), server_side=True),
    )
    stage = opened(certificates, records=records)
    server = stage.server
    for _ in range(1000):  # it listens
        stage.client.layer.write(b"x")
        stage.client.pipe.move(1000)
        server.pipe.unsent.clear()
    assert "lost" not in server.told
    for _ in range(1000):
        stage.client.layer.write(b"x")
        stage.client.pipe.move(1000)
        if server.pipe.is_going:
            break
    assert len(server.pipe.unsent) <= 16 * 1024
    stage.host.turn()
    assert server.told[-1] == "lost"
    assert isinstance(server.upper.error, RemoteProtocolError)


def test_references_alone_free_a_connection_that_is_gone(certificates: Certificates) -> None:
    gc.disable()
    try:
        stage = opened(certificates)
        stage.client.layer.close()
        stage.run()
        layers = [weakref.ref(end.layer) for end in stage.ends()]
        stage.host.timers.clear()
        for end in stage.ends():
            end.pipe.protocol = None  # as transports do
        del stage, end
        assert [layer() for layer in layers] == [None, None]
    finally:
        gc.enable()


def test_to_be_closed_before_the_handshake_is_no_error_of_the_peer(certificates: Certificates) -> None:
    stage = scene(certificates).begin()
    stage.client.layer.close()
    stage.run()
    assert isinstance(stage.client.shaken[0], ClosedError)
    assert isinstance(stage.server.shaken[0], TLSTruncated)
