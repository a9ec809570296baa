# SPDX-License-Identifier: MIT
"""runtimes/tls: data, flow control and bounds of two layers back to back, in memory."""

from __future__ import annotations

import gc
import random
import ssl
import weakref
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.runtimes.tls_scene import Scene, Upper, client_context, opened, scene, server_context
from tieline.errors import RemoteProtocolError
from tieline.runtimes.tls.records import Records

# --- data ------------------------------------------------------------------------------------------------------------


@pytest.mark.row("T7", "T2", "R2")
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
        stage.client.layer.write("text")  # type: ignore[arg-type]  # wrong on purpose


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


@pytest.mark.row("T2", "R4")
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
    """TLS in which every record of the peer makes us say something, as KeyUpdate does: *length* bytes."""

    __slots__ = ("length",)

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context, server_side=True)
        self.length = 30

    @property
    def has_output(self) -> bool:
        return self.is_ready or self._outgoing.pending > 0

    def data_to_send(self) -> bytes:
        return super().data_to_send() or bytes(self.length)


def talking(certificates: Certificates) -> tuple[Scene, Chatty]:
    """Return a scene whose server says something to each record, and the server's records."""
    chatty = Chatty(server_context(certificates))
    records = (Records(client_context(certificates), server_hostname="localhost"), chatty)
    return opened(certificates, records=records), chatty


@pytest.mark.row("H68")
def test_a_peer_that_has_us_talk_and_does_not_listen_is_cut(certificates: Certificates) -> None:
    stage, _ = talking(certificates)
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
    assert server.pipe.is_going
    stage.host.turn()
    assert server.told[-1] == "lost"
    assert isinstance(server.upper.error, RemoteProtocolError)


@pytest.mark.row("H68")
def test_16_kib_of_answers_may_wait_and_not_a_byte_more(certificates: Certificates) -> None:
    stage, chatty = talking(certificates)
    server = stage.server

    def is_cut_by(length: int) -> bool:
        chatty.length = length
        stage.client.layer.write(b"x")
        stage.client.pipe.move(1000)
        return server.pipe.is_going

    for _ in range(2):  # what was read is forgotten
        assert not is_cut_by(16 * 1024 - 1)
        assert not is_cut_by(1)
        assert len(server.pipe.unsent) == 16 * 1024
        server.pipe.unsent.clear()
    assert not is_cut_by(16 * 1024)
    assert is_cut_by(1)
    stage.host.turn()
    assert isinstance(server.upper.error, RemoteProtocolError)
    assert "16384" in str(server.upper.error)


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
