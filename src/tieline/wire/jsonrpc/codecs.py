# SPDX-License-Identifier: MIT
"""JSON to objects and back, by the codec that a connection was given.

Owns which JSON texts and which objects are accepted, and by which error the others are refused. Refuses to know what a
message means, how deep one may be nested (the machine's rule) and who sent it.

The default codec is here, the three others are in `other_codecs.py`. All four keep these rules: output is compact
UTF-8 without a byte order mark, and is JSON. Input must be one JSON text (RFC 8259) in UTF-8: no byte order mark, no
NaN or Infinity, no 1e999 (beyond a double), no lone surrogate written as an escape (it could not be sent back), nothing
behind the text. Integers are exact, up to 4300 digits both ways (CPython's limit, which keeps the conversion from
taking quadratic time); received, the sign counts as one.
"""

from __future__ import annotations

from abc import abstractmethod
from inspect import isawaitable
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, cast

import msgspec

from tieline.wire.jsonrpc.batch_members import Outcomes
from tieline.wire.jsonrpc.depth import check_depth
from tieline.wire.jsonrpc.outgoing import RPCRequestOut

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ENCODER", "CheckedCodec", "Codec", "MsgspecCodec", "refuse_to_encode"]


def refuse_to_encode(value: object) -> NoReturn:
    """Say why *value*, which msgspec cannot encode, cannot be sent. Only types are told: values may be secrets.

    Raises:
        TypeError: In any case.
    """
    kind = type(value).__name__
    # A request of a batch encodes but for the outcomes that it refers to.
    if isinstance(value, RPCRequestOut | Outcomes):
        raise TypeError(
            "a request cannot be sent: await it, or in blocking code take its result(), and send the result"
        )
    if isawaitable(value):
        raise TypeError(f"a value of type {kind} cannot be sent: await it, and send what that returns")
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError):
        pass
    else:  # so it is none of the values
        raise TypeError(f"a value of type {kind} cannot be the key of a JSON object: keys are of type str or number")
    raise TypeError(
        f"a value of type {kind} cannot be sent as JSON: send a dict, list, str, number, dataclass or Struct"
    )


ENCODER: Final = msgspec.json.Encoder(enc_hook=refuse_to_encode)
_DECODER: Final = msgspec.json.Decoder()


class Codec(Protocol):
    """What a connection needs of a codec. One instance may serve many connections and threads at the same time."""

    @abstractmethod
    def encode(self, obj: object) -> bytes:
        """Return *obj* as one JSON text.

        Raises:
            ValueError: The value cannot be sent, however it is nested; circular and too deep objects too.
            TypeError: The type cannot be sent.
        """

    @abstractmethod
    def decode(self, data: bytes) -> object:
        """Return the value of the JSON text *data*.

        Raises:
            ValueError: *data* is not accepted.
            RecursionError: *data* is nested deeper than the decoder can go here. It may be valid JSON, so it is not a
                ValueError.
        """

    @abstractmethod
    def convert(self, obj: object, type: object) -> object:
        """Return *obj*, a result of `decode`, as *type*: a class or any other type hint.

        Strict: "1" is not an int. But in JSON all keys are strings: as a key of a ``dict[int, str]``, "1" is accepted.

        Raises:
            ValueError: *obj* does not match *type*. The text names the place in *obj* and what was expected.
            TypeError: *type* is not a type to convert to.
        """


class CheckedCodec:
    """A codec whose errors are those that `Codec` allows, whatever the libraries below raise."""

    def __init__(self, write: Callable[[object], bytes], read: Callable[[bytes], object]) -> None:
        self._write = write
        self._read = read

    def encode(self, obj: object) -> bytes:
        """Return *obj* as one JSON text. See `Codec.encode`."""
        try:
            text = self._write(obj)
        except (ValueError, TypeError):
            raise
        except Exception as exc:  # RecursionError, MemoryError, and what attributes of users' objects raise
            raise ValueError(f"the object cannot be encoded ({type(exc).__name__})") from exc
        check_depth(text)
        return text

    def decode(self, data: bytes) -> object:
        """Return the value of the JSON text *data*. See `Codec.decode`."""
        try:
            return self._read(data)
        except (ValueError, TypeError, RecursionError):
            raise
        except Exception as exc:  # decimal.InvalidOperation, MemoryError
            raise ValueError(f"the text cannot be decoded ({type(exc).__name__})") from exc

    # The parameter is named as in msgspec.convert.
    def convert(self, obj: object, type: object) -> object:
        """Return *obj* as *type*, by `msgspec.convert` in strict mode. See `Codec.convert`."""
        try:
            return cast("object", msgspec.convert(obj, type, str_keys=True))
        except (ValueError, TypeError):
            raise
        except Exception as exc:  # what users' own classes raise while they are made
            raise ValueError(f"the value cannot be converted ({exc.__class__.__name__})") from exc


class MsgspecCodec(CheckedCodec):
    """The default codec: msgspec both ways.

    Sends everything that msgspec encodes: JSON's own types; dataclasses, Structs and attrs classes as objects;
    datetimes, UUIDs and Decimals as strings; enums by value; bytes as base64; sets as arrays; NaN and infinities as
    null; keys that are numbers as strings. `msgspec.Raw` is sent unchecked: the caller guarantees that it is JSON. Of
    duplicate keys in input the last one wins. A number with a fraction or exponent becomes a float.
    """

    def __init__(self) -> None:
        super().__init__(ENCODER.encode, _DECODER.decode)
