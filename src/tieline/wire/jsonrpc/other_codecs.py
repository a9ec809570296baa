# SPDX-License-Identifier: MIT
"""The codecs that are chosen for a reason: exact numbers, the standard library's json, nothing but what JSON can carry.

The rules that they keep are those of `codecs.py`, which has the default one. Programs that do with that never load
this file.
"""

from __future__ import annotations

import re
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from math import isfinite, isinf
from typing import TYPE_CHECKING, Final, NoReturn, cast
from uuid import UUID

import msgspec

from tieline.wire.jsonrpc.codecs import ENCODER, CheckedCodec, refuse_to_encode

if TYPE_CHECKING:
    import json
    from collections.abc import Callable, Iterable

__all__ = ["DecimalCodec", "StdlibCodec", "StrictCodec"]

# CPython's own limit (sys.int_info.default_max_str_digits), kept where the interpreter's has been lifted.
MAX_DIGITS: Final = 4300


class DecimalCodec(CheckedCodec):
    """Keeps numbers exact: those with a fraction or exponent become `decimal.Decimal`; Decimals are sent as numbers.

    Otherwise like `MsgspecCodec`. A received number is exact to the last digit, including trailing zeros. It refuses
    numbers of over 4300 characters, beyond the range of a double or, unlike the default codec, below 10**-4300
    (``0e-5000`` as well): int(), plain formatting and comparing of these would take unlimited memory or time. On
    output, it refuses a Decimal that is NaN or infinite, and `msgspec.Raw` that is not JSON. As a key a Decimal becomes
    a string; before version 0.23 of msgspec it is refused.

    `convert` takes a Decimal for a float hint (rounded) and a Decimal hint (exact), but, as a number with a fraction,
    not for an int hint: 1.0 is no int with the other codecs either.
    """

    def __init__(self) -> None:
        super().__init__(_encode_decimals, _DECIMAL_DECODER.decode)


class StdlibCodec(CheckedCodec):
    """The standard library's json both ways; for comparisons, or if you need its handling of subclasses.

    Sends what `json` encodes (subclasses of int, float and str too; keys may be None, bool or numbers and become
    strings), and everything else as msgspec would. NaN and infinities become null, but are refused as keys. Reads what
    `MsgspecCodec` reads; of duplicate keys the last one wins.
    """

    def __init__(self) -> None:
        # Imported here since the default codec does without: 1.5 ms that most programs need not spend.
        import json

        encoder = json.JSONEncoder(
            ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_builtins_without_nan
        )
        super().__init__(partial(_encode_text, encoder), partial(_decode_text, _json_decoder(None)))


class StrictCodec(CheckedCodec):
    """Refuses what JSON cannot carry, instead of sending something similar; for protocols with strict checks.

    Sends, as msgspec does, JSON's own types, dataclasses, Structs, datetimes, UUIDs, finite Decimals (as strings) and
    enums of these. Refuses on output, at any depth: NaN and infinities, bytes, bytearrays and memoryviews, sets, keys
    that are not strings, `msgspec.Raw`, attrs classes. Refuses on input an object with duplicate keys. The checks
    are in Python, and several times slower than the default codec.
    """

    def __init__(self) -> None:
        super().__init__(_encode_strictly, partial(_decode_text, _json_decoder(_unique)))


# --- Decimals ----------------------------------------------------------------------------------------------------


def _encode_decimals(obj: object) -> bytes:
    data = _DECIMAL_ENCODER.encode(obj)
    # A Raw may hold anything, and before 0.23 msgspec writes Decimal("NaN") as NaN and {Decimal(1): 2} as {1:2}. A Raw
    # decoder checks a text and builds nothing, at a fifth of what decoding costs.
    _CHECKER.decode(data)
    return data


def _decimal(text: str) -> Decimal:
    # The length first: a float of 900 000 digits takes 3 ms, as a Decimal it would be carried along.
    if len(text) > MAX_DIGITS or isinf(float(text)):
        raise ValueError("number out of range")
    # Exact whatever the context's precision. The context decides by its traps whether 1e-9999999999999999999 raises
    # or gives NaN.
    number = Decimal(text)
    if not number.is_finite() or abs(number.adjusted()) > MAX_DIGITS:
        raise ValueError("number out of range")
    return number


_DECIMAL_ENCODER: Final = msgspec.json.Encoder(enc_hook=refuse_to_encode, decimal_format="number")
_DECIMAL_DECODER: Final = msgspec.json.Decoder(float_hook=_decimal)
_CHECKER: Final = msgspec.json.Decoder(msgspec.Raw)


# --- json of the standard library --------------------------------------------------------------------------------


def _json_decoder(pairs_hook: Callable[[list[tuple[str, object]]], object] | None) -> json.JSONDecoder:
    import json

    return json.JSONDecoder(
        parse_float=_finite, parse_int=_integer, parse_constant=_refuse_constant, object_pairs_hook=pairs_hook
    )


def _encode_text(encoder: json.JSONEncoder, obj: object) -> bytes:
    try:
        text = encoder.encode(obj)
    except ValueError:
        # A NaN in it, perhaps; json has no hook for floats. The second try raises what was wrong if it was not that.
        text = encoder.encode(_without_nan(obj))
    return text.encode()


def _decode_text(decoder: json.JSONDecoder, data: bytes) -> object:
    # Not json.loads(data), which would guess UTF-16 and UTF-32 by the zeros in the first bytes.
    text = str(data, "utf-8")
    value: object = decoder.decode(text)
    if ("\\ud" in text or "\\uD" in text) and any(escape[1] for escape in _ESCAPE.finditer(text)):
        raise ValueError("lone surrogate in a string")
    return value


# One escape of a string at a time, so that the second backslash of two begins none; group 1 is a lone surrogate.
_ESCAPE: Final = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]|(u[dD][89a-fA-F])|.)")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError("number out of range")
    return number


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("integer out of range")
    return int(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _builtins_without_nan(obj: object) -> object:
    return _without_nan(msgspec.to_builtins(obj, enc_hook=refuse_to_encode))


def _without_nan(obj: object) -> object:
    """Return *obj* with None for every float that is not finite. RecursionError when it is circular or too deep."""
    if isinstance(obj, float):
        return obj if isfinite(obj) else None
    if isinstance(obj, dict):
        return {key: _without_nan(value) for key, value in cast("dict[object, object]", obj).items()}
    if isinstance(obj, list | tuple):
        return [_without_nan(value) for value in cast("Iterable[object]", obj)]
    return obj


# --- the strict codec's checks -----------------------------------------------------------------------------------


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate key in an object")
    return members


def _encode_strictly(obj: object) -> bytes:
    # First the encoder, which refuses circular objects: the check would follow them without end.
    data = ENCODER.encode(obj)
    _check_strictly(obj)
    return data


def _check_strictly(obj: object) -> None:
    """Refuse what `StrictCodec` refuses to send. *obj* must not be circular. Without recursion."""
    stack = [obj]
    while stack:
        value = stack.pop()
        # Subclasses of str and int are enums here: msgspec has refused the others.
        if value is None or isinstance(value, str | int | date | time | timedelta | UUID):
            continue
        if isinstance(value, float | Decimal):
            if not (value.is_finite() if isinstance(value, Decimal) else isfinite(value)):
                raise ValueError("NaN and infinities cannot be sent with the strict codec")
        elif isinstance(value, dict):
            members = cast("dict[object, object]", value)
            if not all(isinstance(key, str) for key in members):
                raise TypeError("keys must be strings with the strict codec")
            stack.extend(members.values())
        else:
            stack.extend(_parts(value))


def _parts(value: object) -> Iterable[object]:
    """Return what *value* is made of."""
    if isinstance(value, list | tuple):
        return cast("Iterable[object]", value)
    if isinstance(value, Enum):
        return (value.value,)
    names: Iterable[str] | None = getattr(type(value), "__struct_fields__", None)
    if names is None:
        names = getattr(type(value), "__dataclass_fields__", None)
    if names is None:
        raise TypeError(f"{type(value).__name__} cannot be sent with the strict codec")
    return [getattr(value, name, None) for name in names]
