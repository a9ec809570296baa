# SPDX-License-Identifier: MIT
"""What constructors refuse, what senders are refused, and libraries that are not there."""

from __future__ import annotations

import gc
import pickle
import struct
import sys
import threading
import weakref
from collections import namedtuple
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import cbor2
import msgspec
import pytest

from tieline.errors import DeserializeError, LimitOverrunError, OutgoingMessageTooLarge, UnsupportedOperation
from tieline.wire.converters import AbstractPacketConverter, StapledPacketConverter
from tieline.wire.default import NOTHING
from tieline.wire.serializers.abc import AbstractPacketSerializer
from tieline.wire.serializers.bare import BytesSerializer, StringLineSerializer
from tieline.wire.serializers.cbor import CBORSerializer
from tieline.wire.serializers.compressed import (
    BZ2CompressorSerializer,
    ZlibCompressorSerializer,
    ZstdCompressorSerializer,
)
from tieline.wire.serializers.decoding import is_no_utf8
from tieline.wire.serializers.encoded import Base64EncoderSerializer
from tieline.wire.serializers.encrypted import EncryptorSerializer
from tieline.wire.serializers.json import JSONSerializer
from tieline.wire.serializers.messagepack import MessagePackSerializer
from tieline.wire.serializers.pickled import PickleSerializer
from tieline.wire.serializers.separated import AutoSeparatedPacketSerializer
from tieline.wire.serializers.sized import FixedSizePacketSerializer, LengthPrefixedSerializer
from tieline.wire.serializers.stapled import StapledPacketSerializer
from tieline.wire.serializers.structs import NamedTupleStructSerializer, StructSerializer

KEY = b"k" * 16
RAW = BytesSerializer()
Pair = namedtuple("Pair", ["a", "b"])


class Marked(AutoSeparatedPacketSerializer[bytes, bytes]):
    """Bytes with a mark of two bytes behind them."""

    def serialize(self, packet: bytes, /) -> bytes:
        return packet

    def deserialize(self, data: bytes, /) -> bytes:
        return data


class Four(FixedSizePacketSerializer[bytes, bytes]):
    """Any four bytes."""

    def serialize(self, packet: bytes, /) -> bytes:
        return packet

    def deserialize(self, data: bytes, /) -> bytes:
        return data


class Loud(StringLineSerializer):
    """Puts a newline where none may be."""

    def serialize(self, packet: str, /) -> bytes:
        return packet.encode() + b"\n!"


Raising = type[Exception] | tuple[type[Exception], ...]
REFUSED: list[tuple[Any, Raising, str]] = [
    (lambda: JSONSerializer(limit=0), ValueError, "limit must be 1 or more, not 0"),
    (lambda: JSONSerializer(limit=True), TypeError, "limit must be an int, not bool"),
    (lambda: JSONSerializer(limit=2.5), TypeError, "limit must be an int, not float"),  # type: ignore[call-overload]  # that is the point
    (lambda: Marked("<>"), TypeError, "separator must be bytes, not str"),  # type: ignore[arg-type]  # that is the point
    (lambda: Marked(b""), ValueError, "separator must not be empty"),
    (lambda: Four(0), ValueError, "limit must be 1 or more, not 0"),
    (lambda: StringLineSerializer("\n"), ValueError, "newline must be one of LF, CR, CRLF, not "),  # type: ignore[arg-type]  # that is the point
    (lambda: StringLineSerializer(encoding="utf-16"), ValueError, "in utf-16 the newline has more than one byte"),
    (lambda: StringLineSerializer(encoding="klingon"), LookupError, "unknown encoding: klingon"),
    (lambda: StructSerializer("!"), ValueError, "limit must be 1 or more, not 0"),
    (lambda: StructSerializer("?!"), struct.error, "bad char"),
    (lambda: NamedTupleStructSerializer(tuple, {}), TypeError, "must be a class of named tuples"),
    (lambda: NamedTupleStructSerializer(Pair(1, 2), {}), TypeError, "must be a class of named tuples"),  # type: ignore[arg-type]  # that is the point
    (lambda: NamedTupleStructSerializer(Pair, {"a": "B"}), ValueError, "must have the fields a, b, and no others"),
    (lambda: NamedTupleStructSerializer(Pair, {"a": "B", "b": "2B"}), ValueError, "'2B' of b is not that of one field"),
    (lambda: LengthPrefixedSerializer(RAW, prefix_size=5), ValueError, r"one of \(1, 2, 3, 4, 8\), not 5"),
    (lambda: LengthPrefixedSerializer(RAW, byteorder="middle"), ValueError, "'big' or 'little', not 'middle'"),  # type: ignore[arg-type]  # that is the point
    (lambda: LengthPrefixedSerializer(b""), TypeError, "an AbstractPacketSerializer, not bytes"),  # type: ignore[arg-type]  # that is the point
    (lambda: LengthPrefixedSerializer(BytesSerializer), TypeError, "not BytesSerializer itself"),  # type: ignore[arg-type]  # that is the point
    (lambda: MessagePackSerializer(max_depth=0), ValueError, "max_depth must be 1 or more, not 0"),
    (lambda: CBORSerializer(max_depth="1"), TypeError, "max_depth must be an int, not str"),  # type: ignore[arg-type]  # that is the point
    (lambda: Base64EncoderSerializer(RAW, alphabet="hex"), ValueError, "alphabet must be"),  # type: ignore[arg-type]  # that is the point
    (lambda: Base64EncoderSerializer(RAW, separator=b"-"), ValueError, "separator must hold nothing of the alphabet"),
    (lambda: Base64EncoderSerializer(RAW, checksum=b"short"), ValueError, "checksum must have 16 bytes or more, not 5"),
    (lambda: Base64EncoderSerializer(RAW, checksum="x"), TypeError, "checksum must be bytes, not str"),  # type: ignore[arg-type]  # that is the point
    (lambda: EncryptorSerializer(RAW, b"secret-key"), ValueError, "key must be what .*generate_key returns"),
    (lambda: EncryptorSerializer(RAW, KEY, token_ttl=-1), ValueError, "token_ttl must be 0 or more, not -1"),
    (lambda: ZlibCompressorSerializer(RAW, compress_level=10), ValueError, "from -1 to 9, not 10"),
    (lambda: BZ2CompressorSerializer(RAW, compress_level=0), ValueError, "from 1 to 9, not 0"),
    (lambda: StapledPacketSerializer(RAW, 5), TypeError, "not int"),  # type: ignore[call-overload]  # that is the point
    (lambda: StapledPacketConverter(5, 6), TypeError, "an AbstractPacketConverterComposite, not int"),  # type: ignore[arg-type]  # that is the point
    (lambda: StapledPacketConverter(AbstractPacketConverter, 6), TypeError, "AbstractPacketConverter itself"),  # type: ignore[arg-type]  # that is the point
]


@pytest.mark.parametrize(("make", "error", "text"), REFUSED)
def test_what_makes_no_sense_is_refused_when_it_is_made(make: Any, error: Raising, text: str) -> None:
    with pytest.raises(error, match=text):
        make()


PICKLE_REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"key": KEY}, ValueError, "run code of whoever has the key"),
    ({"key": KEY, "allow_unsafe": 1}, ValueError, "needs allow_unsafe=True"),
    ({"key": b"", "allow_unsafe": True}, ValueError, "key must have 16 bytes or more, not 0"),
    ({"key": "k" * 16, "allow_unsafe": True}, TypeError, "key must be bytes, not str"),
    ({"allow_unsafe": True}, TypeError, "key"),
]


@pytest.mark.row("H74")
@pytest.mark.parametrize(("settings", "error", "text"), PICKLE_REFUSED)
def test_pickles_need_a_key_and_a_word(settings: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        PickleSerializer(**settings)


class Evil:
    """Unpickling it does something."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.row("H74")
def test_nothing_is_unpickled_before_its_mac_is_right(tmp_path: Path) -> None:
    evil = Evil(tmp_path / "unpickled")
    ours = PickleSerializer(KEY, allow_unsafe=True)
    theirs = PickleSerializer(b"another key of 16", allow_unsafe=True)
    for data in (theirs.serialize(evil), theirs.serialize(evil)[:-32], ours.serialize(evil)[:-1]):
        with pytest.raises(DeserializeError, match="the MAC of the packet is wrong"):
            ours.deserialize(data)
    assert not evil.path.exists()
    ours.deserialize(ours.serialize(evil))
    assert evil.path.exists()


class Unloadable:
    """Unpickling it fails."""

    def __reduce__(self) -> Any:
        return int, ("x",)


def test_an_authentic_pickle_that_cannot_be_loaded_is_a_fault() -> None:
    ours = PickleSerializer(KEY, allow_unsafe=True, protocol=2)
    with pytest.raises(DeserializeError, match="authentic, and cannot be unpickled here") as caught:
        ours.deserialize(ours.serialize(Unloadable()))
    assert isinstance(caught.value.__cause__, ValueError)


NOT_SENT: list[tuple[Any, Any, type[Exception], str]] = [
    (Marked(b"<>"), b"a<>b", ValueError, "must not hold the separator that ends it"),
    (Marked(b"aba"), b"ab", ValueError, "must not hold the separator that ends it"),
    (Four(4), b"abc", ValueError, "must have 4 bytes, not 3"),
    (StringLineSerializer(), b"abc", TypeError, "a line must be a str, not bytes"),
    (StringLineSerializer(), "a\nb", ValueError, "must not hold its newline"),
    (StringLineSerializer(), "\nb", ValueError, "must not hold its newline"),
    (StringLineSerializer(), "a\n", ValueError, "must not hold its newline"),
    (StringLineSerializer(keep_end=True), "a\nb\n", ValueError, "must not hold its newline"),
    (StringLineSerializer(keep_end=True), "a\n\n", ValueError, "must not hold its newline"),
    (Loud(), "a", ValueError, "must not hold its newline"),
    (StringLineSerializer(), "a\0b", ValueError, "must not hold a NUL"),
    (StringLineSerializer(), "ä", UnicodeEncodeError, "ascii"),
    (StructSerializer("f"), (float("nan"),), ValueError, "a field is NaN"),
    (StructSerializer("B"), (256,), struct.error, "255"),
    (NamedTupleStructSerializer(Pair, {"a": "B", "b": "B"}), (1, 2), TypeError, "must be a Pair, not tuple"),
    (
        LengthPrefixedSerializer(RAW, prefix_size=1),
        b"x" * 256,
        OutgoingMessageTooLarge,
        "of 256 bytes is over the limit",
    ),
]


@pytest.mark.parametrize(("serializer", "packet", "error", "text"), NOT_SENT)
def test_what_a_frame_cannot_carry_is_refused(serializer: Any, packet: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        serializer.frame(packet)


def test_a_raw_json_text_with_a_newline_is_no_line() -> None:
    import msgspec

    with pytest.raises(ValueError, match="must not hold the separator"):
        JSONSerializer().frame(msgspec.Raw(b"[1,\n2]"))
    assert JSONSerializer(use_lines=False).frame(msgspec.Raw(b"[1,\n2]")) == b"[1,\n2]"


def test_bytes_are_sent_as_they_are() -> None:
    assert RAW.serialize(b"abc") == RAW.serialize(bytearray(b"abc")) == RAW.serialize(memoryview(b"abc")) == b"abc"
    with pytest.raises(TypeError):
        RAW.serialize(5)  # type: ignore[arg-type]  # that is the point


@pytest.mark.row("H78")
def test_a_nan_may_be_asked_for() -> None:
    serializer = StructSerializer[Any, Any]("f", allow_nan=True)
    (back,) = serializer.deserialize(serializer.frame((float("nan"),)))
    assert back != back
    assert StructSerializer[Any, Any]("f").deserialize(struct.pack("f", float("inf"))) == (float("inf"),)


def test_text_in_named_tuples_may_be_bytes_and_keep_its_padding() -> None:
    formats = {"a": "4s", "b": "B"}
    assert NamedTupleStructSerializer(Pair, formats, encoding=None).deserialize(b"ab\0\0\x01") == (b"ab", 1)
    kept = NamedTupleStructSerializer(Pair, formats, strip_string_trailing_nul_bytes=False)
    assert kept.deserialize(b"ab\0\0\x01") == ("ab\0\0", 1)
    raw = NamedTupleStructSerializer(Pair, formats, encoding=None)
    assert raw.frame(Pair(b"ab", 1)) == b"ab\0\0\x01"
    assert NamedTupleStructSerializer(Pair, {"a": "B", "b": "B"}).deserialize(b"\x01\x02") == Pair(1, 2)


def test_lines_tell_their_settings_and_may_keep_their_ends() -> None:
    plain = StringLineSerializer()
    assert (plain.encoding, plain.unicode_errors, plain.keep_end) == ("ascii", "strict", False)
    kept = StringLineSerializer("CRLF", encoding="utf-8", unicode_errors="replace", keep_end=True)
    assert (kept.encoding, kept.unicode_errors, kept.keep_end) == ("utf-8", "replace", True)
    assert kept.frame("a") == kept.frame("a\r\n") == b"a\r\n"
    assert (kept.serialize("a"), kept.serialize("a\r\n")) == (b"a", b"a\r\n")  # as in datagrams
    assert (kept.deserialize(b"a"), kept.deserialize(b"a\r\n")) == ("a", "a\r\n")
    assert plain.deserialize(b"a\n") == "a"


def test_a_struct_serializer_tells_its_struct() -> None:
    assert StructSerializer[Any]("!Hd").struct.format == "!Hd"


@pytest.mark.parametrize("kind", [JSONSerializer, MessagePackSerializer])
def test_json_and_msgpack_are_sent_as_is_asked_for(kind: Any) -> None:
    set_, unordered = kind(order="deterministic"), kind()
    there, back = {"b": 1, "a": 2}, {"a": 2, "b": 1}
    assert set_.serialize(there) == set_.serialize(back)
    assert unordered.serialize(there) != unordered.serialize(back)
    read = kind().deserialize
    uuid = UUID(int=5)
    assert read(kind().serialize([Decimal("0.1"), uuid])) == ["0.1", str(uuid)]
    assert read(kind(decimal_format="number", uuid_format="hex").serialize([Decimal("0.1"), uuid])) == [0.1, uuid.hex]
    for settings in ({"order": "x"}, {"decimal_format": "x"}, {"uuid_format": "x"}):
        with pytest.raises(ValueError, match="x"):
            kind(**settings)


def test_json_may_read_numbers_in_another_way() -> None:
    assert JSONSerializer(float_hook=Decimal).deserialize(b"[0.10, 1]") == [Decimal("0.10"), 1]


def test_json_and_msgpack_take_hooks_and_types() -> None:
    def enc(value: Any) -> Any:
        return [value.real, value.imag]

    def dec(_kind: Any, value: Any) -> Any:
        return complex(*value)

    for kind in (JSONSerializer, MessagePackSerializer):
        serializer = kind(type=complex, enc_hook=enc, dec_hook=dec)
        assert serializer.deserialize(serializer.serialize(1 + 2j)) == 1 + 2j
        loose = kind(type=int, strict=False)
        assert loose.deserialize(loose.serialize("5")) == 5
        with pytest.raises(DeserializeError, match="does not have the type of the packets"):
            serializer.deserialize(loose.serialize({"a": 1}) if kind is JSONSerializer else b"\x81\xa1a\x01")


@pytest.mark.parametrize("kind", [Any, int, float, list[int]])
@pytest.mark.parametrize("number", [b"1e999999999", b"-1e400", b"9" * 5000])
def test_a_number_out_of_range_is_said_to_be_that(kind: Any, number: bytes) -> None:
    serializer: JSONSerializer[Any] = JSONSerializer(type=kind)
    text = b"[%s]" % number if kind == list[int] else number
    with pytest.raises(DeserializeError, match="the JSON holds a number that is out of range"):
        serializer.deserialize(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"a":"x"}', "Expected `int`, got `str` - at `$[...]`"),
        (b'{"a":1e999}', "Number out of range - at `$[...]`"),
        (b'{"a":1', "Input data was truncated"),
    ],
)
def test_what_is_wrong_with_json_is_told_by_its_cause_in_streams_and_alone(text: bytes, told: str) -> None:
    serializer: JSONSerializer[Any] = JSONSerializer(type=dict[str, int])
    with pytest.raises(DeserializeError) as caught:
        serializer.deserialize(text)
    decoder = serializer.new_decoder()
    decoder.feed(text + b"\n")
    _, fault = decoder.take(1)
    assert fault is not None
    assert [str(one.__cause__) for one in (caught.value, fault)] == [told, told]


def test_an_error_of_json_goes_without_the_garbage_collector() -> None:
    errors: list[weakref.ref[DeserializeError]] = []
    gc.disable()
    try:
        try:
            JSONSerializer[Any]().deserialize(b"{")
        except DeserializeError as exc:
            errors.append(weakref.ref(exc))
        assert [error() for error in errors] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", [Any, str, dict[str, str]])
def test_json_that_is_no_utf8_is_said_to_be_that(kind: Any) -> None:
    serializer: JSONSerializer[Any] = JSONSerializer(type=kind)
    text = b'"\xff"' if kind is str else b'{"key":"\xff"}'
    with pytest.raises(DeserializeError, match="the packet is not UTF-8") as caught:
        serializer.deserialize(text)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), True),  # before msgspec 0.23
        (msgspec.DecodeError("Invalid UTF-8 encoded string"), True),
        (msgspec.DecodeError("Input data was truncated"), False),
        (msgspec.ValidationError("Invalid UTF-8, says somebody's own code"), False),
        (RuntimeError("Invalid UTF-8, says somebody's own code"), False),
    ],
)
def test_the_error_for_what_is_no_utf8_is_told_from_others(error: Exception, expected: bool) -> None:
    assert is_no_utf8(error) is expected


MESSAGEPACK_FAULTS = [
    (MessagePackSerializer(), b"\x81\x01\x02", "a key is not text"),
    (MessagePackSerializer(type=dict[int, int]), b"\x81\xa1a\x02", "does not have the type"),
    (MessagePackSerializer(type=dict[str, str]), b"\x81\xa1a\xa1\xff", "not UTF-8"),
    (MessagePackSerializer(type=list[int]), b"\xc1", "not MessagePack"),
    (MessagePackSerializer(type=list[int]), b"\x91", "not MessagePack"),
    (MessagePackSerializer(), b"\x91", "1 bytes of it received"),
    (MessagePackSerializer(type=list[int], limit=3), b"\x93\x01\x02\x03", "packet too large"),
]


@pytest.mark.parametrize(("serializer", "data", "text"), MESSAGEPACK_FAULTS)
def test_messagepack_says_what_is_wrong(serializer: MessagePackSerializer[Any], data: bytes, text: str) -> None:
    with pytest.raises(DeserializeError, match=text):
        serializer.deserialize(data)


@pytest.mark.row("H77")
def test_a_type_that_nests_does_not_end_the_stack() -> None:
    deep = b"\x91" * 100_000 + b"\x90"
    with pytest.raises(DeserializeError, match="nested too deep"):
        MessagePackSerializer(type=list[Any]).deserialize(deep)
    with pytest.raises(DeserializeError, match="nested too deep"):
        JSONSerializer().deserialize(b"[" * 100_000)


def test_keys_may_be_numbers_where_that_is_asked_for() -> None:
    assert MessagePackSerializer(text_keys=False).deserialize(b"\x81\x01\x02") == {1: 2}
    assert MessagePackSerializer(type=dict[int, int]).deserialize(b"\x81\x01\x02") == {1: 2}
    assert CBORSerializer(text_keys=False).deserialize(b"\xa1\x01\x02") == {1: 2}


def doubled(*args: Any) -> Any:
    """cbor2 gives what a tag is with the decoder before it up to version 5, and with a flag behind it from 6 on."""
    (tag,) = [arg for arg in args if hasattr(arg, "value")]
    return tag.value * 2


def test_cbor_takes_endless_containers_dates_and_hooks() -> None:
    cbor = CBORSerializer[Any]()
    assert cbor.deserialize(b"\x9f\x01\xbf\x61a\x7f\x61b\x61c\xff\xff\xff") == [1, {"a": "bc"}]
    assert cbor.deserialize(b"\xc1\x00").year == 1970
    with pytest.raises(DeserializeError, match="the tag 999 is not one that is taken here"):
        cbor.deserialize(b"\xd9\x03\xe7\x01")
    hooked = CBORSerializer[Any](tags={999}, tag_hook=doubled, default=lambda e, v: e.encode(7))
    assert hooked.deserialize(b"\xd9\x03\xe7\x05") == 10
    assert hooked.serialize(threading) == b"\x07"


def mapped(*args: Any) -> Any:
    """As `doubled`: there is one map among what cbor2 gives."""
    (map_,) = [arg for arg in args if isinstance(arg, dict)]
    return sorted(map_.items())


def test_cbor_is_sent_and_read_as_is_asked_for() -> None:
    ordered = CBORSerializer[Any](canonical=True)
    assert (
        ordered.serialize({"bb": 1, "a": 2.0}) == ordered.serialize({"a": 2.0, "bb": 1}) == b"\xa2aa\xf9\x40\0bbb\x01"
    )
    noon = datetime(2026, 1, 1, 12)  # noqa: DTZ001  # such as programs have
    with pytest.raises(cbor2.CBOREncodeError, match="naive datetime"):
        CBORSerializer[Any]().serialize(noon)
    assert CBORSerializer[Any](timezone=UTC).serialize(noon) == b"\xc0\x742026-01-01T12:00:00Z"
    stamped = CBORSerializer[Any](timezone=UTC, datetime_as_timestamp=True)
    assert stamped.serialize(noon) == b"\xc1" + CBORSerializer[Any]().serialize(1767268800)
    midnight = CBORSerializer[Any](timezone=UTC, date_as_datetime=True).serialize(noon.date())
    assert midnight == b"\xc0\x742026-01-01T00:00:00Z"
    assert CBORSerializer[Any](object_hook=mapped).deserialize(b"\xa1aa\x01") == [("a", 1)]


def test_cbor_may_send_once_what_comes_again_to_whoever_takes_that() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    sharing = CBORSerializer[Any](value_sharing=True)
    back = CBORSerializer[Any](tags={28, 29}).deserialize(sharing.serialize(ring))
    assert back[1] is back
    packet = ["a long text", "a long text"]
    referring = CBORSerializer[Any](string_referencing=True).serialize(packet)
    assert len(referring) < len(CBORSerializer[Any]().serialize(packet))
    assert CBORSerializer[Any](tags={25, 256}).deserialize(referring) == packet
    for data in (sharing.serialize(ring), referring):
        with pytest.raises(DeserializeError, match="is not one that is taken here"):
            CBORSerializer[Any]().deserialize(data)


class FewGlobals(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("datetime", "date"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not taken")


class Reducing(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        return (date, (2026, 1, 1)) if isinstance(obj, Unloadable) else NotImplemented


def test_pickles_may_be_written_and_read_by_classes_of_yours() -> None:
    few = PickleSerializer[Any](KEY, allow_unsafe=True, unpickler_cls=FewGlobals)
    assert few.deserialize(few.serialize([date(2026, 1, 2)])) == [date(2026, 1, 2)]
    with pytest.raises(DeserializeError, match="authentic, and cannot be unpickled here") as caught:
        few.deserialize(few.serialize(Path("x")))
    assert "is not taken" in str(caught.value.__cause__)
    reducing = PickleSerializer[Any](KEY, allow_unsafe=True, pickler_cls=Reducing, protocol=2)
    assert few.deserialize(reducing.serialize(Unloadable())) == date(2026, 1, 1)
    assert reducing.serialize(5) == PickleSerializer[Any](KEY, allow_unsafe=True, protocol=2).serialize(5)


def test_an_error_of_a_hook_is_not_a_fault_of_the_peer() -> None:
    def fail(*_args: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        JSONSerializer(type=complex, dec_hook=fail).deserialize(b"[]")


@pytest.mark.row("H76")
def test_all_that_is_wrong_with_a_token_is_told_alike() -> None:
    key = EncryptorSerializer.generate_key()
    ours = EncryptorSerializer(RAW, key, replay_window=2)
    token = ours.serialize(b"attack at dawn")
    other = EncryptorSerializer(RAW, EncryptorSerializer.generate_key())
    assert ours.deserialize(token) == b"attack at dawn"
    flipped = [token[:at] + bytes([token[at] ^ 1]) + token[at + 1 :] for at in range(0, len(token), 7)]
    told = set()
    for bad in (token, *flipped, token[:-4], token[:10], b"", other.serialize(b"attack"), b"\xff"):
        with pytest.raises(DeserializeError) as caught:
            ours.deserialize(bad)
        told.add((type(caught.value), str(caught.value), caught.value.__cause__))
    assert told == {(DeserializeError, "the packet is not authentic", None)}


@pytest.mark.row("H76")
def test_a_token_whose_packet_is_refused_is_not_said_to_be_forged() -> None:
    """It is looked at once: at a second look it would be one that was received before."""
    key = EncryptorSerializer.generate_key()
    serializer = EncryptorSerializer(JSONSerializer(), key)
    token = EncryptorSerializer(RAW, key).frame(b"no JSON")
    decoder = serializer.new_decoder()
    assert decoder.decode_alone(token) is NOTHING
    decoder.feed(token + token)
    for text in ("the packet is not JSON", "the packet is not authentic"):
        _, fault = decoder.take(10)
        assert str(fault) == text


def test_only_so_many_tokens_are_remembered_and_none_if_so_asked() -> None:
    key = EncryptorSerializer.generate_key()
    ours = EncryptorSerializer(RAW, key, replay_window=2)
    tokens = [ours.serialize(b"%d" % number) for number in range(4)]
    for token in tokens:
        ours.deserialize(token)
    assert ours.deserialize(tokens[0]) == b"0"  # forgotten since
    with pytest.raises(DeserializeError):
        ours.deserialize(tokens[3])
    free = EncryptorSerializer(RAW, key, replay_window=0)
    assert free.deserialize(tokens[1]) == free.deserialize(tokens[1]) == b"1"


def test_a_token_is_of_the_url_safe_alphabet_and_of_nothing_else() -> None:
    ours = EncryptorSerializer(RAW, EncryptorSerializer.generate_key(), replay_window=0)
    token = ours.serialize(b"attack at dawn")
    while b"-" not in token:
        token = ours.serialize(b"attack at dawn")
    assert ours.deserialize(token) == b"attack at dawn"
    for bad in (token.replace(b"-", b"+"), token[:8] + b" " + token[8:], token[:8] + b"\n" + token[8:], token + b"\0"):
        with pytest.raises(DeserializeError, match="not authentic"):
            ours.deserialize(bad)


@pytest.mark.row("H76")
def test_a_token_may_grow_too_old() -> None:
    from cryptography.fernet import Fernet

    key = EncryptorSerializer.generate_key()
    old = Fernet(key).encrypt_at_time(b"old", 1_000_000)
    assert EncryptorSerializer(RAW, key).deserialize(old) == b"old"
    with pytest.raises(DeserializeError, match="not authentic"):
        EncryptorSerializer(RAW, key, token_ttl=60).deserialize(old)


MISSING: list[tuple[str, Any, type[Exception], str]] = [
    ("cbor2", CBORSerializer, ModuleNotFoundError, r"CBORSerializer needs cbor2: pip install 'tieline\[cbor\]'"),
    ("cryptography.fernet", lambda: EncryptorSerializer(RAW, KEY), ModuleNotFoundError, r"tieline\[crypto\]"),
    ("cryptography.fernet", EncryptorSerializer.generate_key, ModuleNotFoundError, r"tieline\[crypto\]"),
    ("compression.zstd", lambda: ZstdCompressorSerializer(RAW), UnsupportedOperation, "needs CPython 3.14 or later"),
]


@pytest.mark.parametrize(("module", "make", "error", "text"), MISSING)
def test_a_library_that_is_not_there_is_named(
    module: str, make: Any, error: type[Exception], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(error, match=text):
        make()


@pytest.mark.row("H75")
def test_what_follows_or_is_cut_off_of_compressed_data_is_refused() -> None:
    for kind in (ZlibCompressorSerializer, BZ2CompressorSerializer):
        serializer: Any = kind(RAW)
        data = serializer.serialize(b"abc" * 100)
        for bad, text in (
            (data + data, "bytes follow the packet"),
            (data + b"x", "1 bytes follow"),
            (data[:-1], "not complete"),
            (b"", "not complete"),
        ):
            with pytest.raises(DeserializeError, match=text):
                serializer.deserialize(bad)


@pytest.mark.row("H75")
def test_compressed_data_that_never_give_anything_are_given_up() -> None:
    import zlib

    decoder = ZlibCompressorSerializer(RAW, limit=100).new_decoder()
    decoder.feed(zlib.compressobj().flush(zlib.Z_SYNC_FLUSH))
    while (told := decoder.take(1)) == ([], None):
        decoder.feed(b"\0\0\0\xff\xff")  # an empty block that is stored
        assert decoder.pending < 1200
    assert isinstance(told[1], LimitOverrunError)


def test_the_parts_of_staples_can_be_asked_for() -> None:
    sent, received = JSONSerializer[Any](), LengthPrefixedSerializer(RAW)
    stapled = StapledPacketSerializer(sent, received)
    assert stapled.sent_packet_serializer is sent
    assert stapled.received_packet_serializer is received
    assert stapled.serialize([1]) == b"[1]"
    assert stapled.deserialize(b"ab") == b"ab"


def test_limits_and_separators_can_be_asked_for() -> None:
    assert [JSONSerializer(limit=limit).limit for limit in (1, 5)] == [1, 5]
    assert JSONSerializer().separator == b"\n"
    assert Four(4).packet_size == 4
    assert StringLineSerializer("CR").deserialize(b"abc\r") == "abc"


def test_every_serializer_is_abstract_in_what_it_must_be_told() -> None:
    with pytest.raises(TypeError, match="abstract"):
        AbstractPacketSerializer()  # type: ignore[abstract]  # that is the point
