# SPDX-License-Identifier: MIT
"""What a handler's type hints mean for the values that a peer sends.

This file owns one parameter at a time: resolving its hint, refusing hints that msgspec cannot convert to, converting a
value, and the words that tell the peer why a value does not fit. It knows neither signatures nor calls (binding.py),
nor what a session is: `Caller` only marks one.
"""

from __future__ import annotations

__all__ = [
    "Convert",
    "Slot",
    "caller_classes",
    "described",
    "resolve",
    "shown",
]

import enum
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec.inspect import (
    AnyType,
    BytesType,
    CustomType,
    DateTimeType,
    DateType,
    DecimalType,
    DictType,
    EnumType,
    ExtType,
    Field,
    FloatType,
    IntType,
    LiteralType,
    MemoryViewType,
    Metadata,
    RawType,
    StrType,
    TimeDeltaType,
    TimeType,
    Type,
    UnionType,
    UUIDType,
    type_info,
)

from tieline.rpc.outcomes import SHOWN_NAME, ArgumentsError
from tieline.rpc.session_classes import Caller

# The second argument is any hint (a class, a union, an Annotated, ...), which has no narrower type in Python 3.11.
Convert: TypeAlias = Callable[[object, Any], object]

# For hints that hold an object whose keys are no strings, which JSON has as strings all the same. To ask for this takes
# three times as long, so others do not.
_convert_keys: Final[Convert] = functools.partial(msgspec.convert, str_keys=True)

# What the text of a key can be read as, besides literals. An `object` is a custom type.
_TEXTS: Final = (AnyType, CustomType, StrType, BytesType, MemoryViewType, EnumType, UUIDType)
_NUMBERS_AND_TIMES: Final = (IntType, FloatType, DecimalType, DateTimeType, DateType, TimeType, TimeDeltaType)

# Converting to one of these a value whose class it already is would change nothing.
_PLAIN: Final = frozenset({bool, dict, float, int, list, str, types.NoneType})

_JSON_NAMES: Final[Mapping[type, str]] = {dict: "object", list: "array", types.NoneType: "null"}

# What msgspec says in these ways holds types, bounds and names of our own fields. Its other texts quote the value.
_EXPECTED: Final = ("Expected `", "Object missing required field `")
_MALFORMED: Final = ("Invalid RFC3339 ", "Invalid ISO8601 ", "Invalid UUID", "Invalid base64 ", "Invalid decimal ")
_OUT_OF_RANGE: Final = ("Number out of range", "Integer value out of range", "Duration is out of range")
_SAFE_TEXTS: Final = (*_EXPECTED, *_MALFORMED, *_OUT_OF_RANGE, "Invalid epoch timestamp", "Timestamp is out of range")
_PATH: Final = " - at `"

_SHOWN_REASON: Final = 200  # hints can be long too: a Literal of a thousand words


class Slot:
    """One parameter that the peer fills.

    Args:
        name: The parameter's name, as the peer reads it in errors.
        hint: What to convert to; `typing.Any` passes every value as it is.

    Raises:
        TypeError: msgspec cannot convert to *hint*; the text is the reason alone.
    """

    __slots__ = ("exact", "hint", "name", "takes_keys")

    def __init__(self, name: str, hint: object) -> None:
        if typing.get_origin(hint) is Annotated and not any(
            isinstance(note, msgspec.Meta) for note in typing.get_args(hint)[1:]
        ):
            hint = typing.get_args(hint)[0]  # notes for other readers: leave the short way open
        self.name = name
        self.hint = hint
        # The classes whose values need no conversion; None means that no value needs any.
        self.exact: frozenset[object] | None = None
        self.takes_keys = False  # an object in it has keys that are to be converted
        if hint is not Any and hint is not object and hint is not inspect.Parameter.empty:
            self.takes_keys = _check_convertible(hint)
            members = _members(hint)
            plain = all(isinstance(member, type) and member in _PLAIN for member in members)
            self.exact = frozenset(members) if plain else frozenset()

    def fit(self, value: object, convert: Convert, at: int | str | None = None) -> object:
        """Return *value* as the hint wants it.

        *at* is for the errors: the index of one value of ``*args``, or the name of one of ``**kwargs``.

        Raises:
            ArgumentsError: The value does not fit: the peer's fault. An error of the hint's own code (a factory,
                ``__post_init__``) is the peer's fault when it is a ValueError or TypeError; any other passes.
        """
        exact = self.exact
        if exact is None or value.__class__ in exact:
            return value
        if self.takes_keys and convert is msgspec.convert:
            convert = _convert_keys
        try:
            return convert(value, self.hint)
        except RecursionError as exc:
            raise ArgumentsError(f"parameter {self._label(at)!r}: nested too deeply") from exc
        except (ValueError, TypeError, msgspec.MsgspecError) as exc:  # msgspec's are no ValueErrors before 0.21
            label = self._label(at)
            raise ArgumentsError(f"parameter {label!r}: {self._reason(value, exc, label)}") from exc

    def _label(self, at: int | str | None) -> str:
        if at is None:
            return self.name
        return f"{self.name}[{at}]" if isinstance(at, int) else at[:SHOWN_NAME]

    def _reason(self, value: object, exc: Exception, label: str) -> str:
        """Say what was expected and what was seen, without the value."""
        text, path = str(exc), ""
        if isinstance(exc, msgspec.ValidationError):
            head, found, tail = text.rpartition(_PATH)
            if found:
                text, path = head, " at `" + tail.replace("$", label, 1)
        # An error with a cause is the text of somebody's __post_init__: it may quote anything.
        if isinstance(exc, msgspec.ValidationError) and exc.__cause__ is None and text.startswith(_SAFE_TEXTS):
            reason = text[0].lower() + text[1:] + path
        elif path:
            reason = f"expected {_expectation(self.hint)}, does not fit{path}"
        else:
            seen = value.__class__
            reason = f"expected {_expectation(self.hint)}, got {_JSON_NAMES.get(seen, seen.__name__)} that does not fit"
        return reason if len(reason) <= _SHOWN_REASON else reason[:_SHOWN_REASON] + "..."


def resolve(annotation: object, name: str, global_names: dict[str, Any], local_names: Mapping[str, object]) -> object:
    """Return the hint that *annotation* means, with every string in it resolved.

    Raises:
        TypeError: A name in it is not known there, or it is no expression; the text is the reason alone.
    """
    # A hint at a time, and none of "return": one that cannot be resolved is named, and those not needed do not matter.
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        return typing.get_type_hints(holder, global_names, dict(local_names), include_extras=True)[name]
    except Exception as exc:
        raise TypeError(f"cannot be resolved: {exc}") from exc


def caller_classes(hint: object) -> tuple[type, ...]:
    """Return of which classes the session may be that *hint* asks for: one derived from `Caller`, or a union of such
    (and None). Nothing = it asks for no session.
    """
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    members = [member for member in _members(hint) if member is not types.NoneType]
    classes = [typing.get_origin(member) or member for member in members]
    callers = [kind for kind in classes if isinstance(kind, type) and issubclass(kind, Caller)]
    return tuple(callers) if len(callers) == len(classes) else ()


def shown(name: object) -> str:
    """Return *name*, which a peer chose, quoted and cut for a text that people read."""
    if not isinstance(name, str):
        return f"of type {type(name).__name__}"
    return repr(name) if len(name) <= SHOWN_NAME else repr(name[:SHOWN_NAME]) + "..."


def described(hint: object) -> str:
    """Return *hint* as its author would write it."""
    return inspect.formatannotation(hint)


def _expectation(hint: object) -> str:
    """Return *hint* in words for the peer, which has no use for the names of our modules."""
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return "one of " + ", ".join(repr(member.value) for member in hint)
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        return hint.__name__
    return "its type"


def _members(hint: object) -> tuple[object, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (types.NoneType if hint is None else hint,)


def _check_convertible(hint: object) -> bool:
    """Raise TypeError unless msgspec can convert JSON values to *hint*; return whether keys are to be converted in it.

    `type_info` refuses what msgspec can never decode (two untagged Structs in a union), but takes any class as a
    custom type, which `convert` then compares by isinstance only. No JSON value is an instance of one, so those are
    looked for. `object`, the exception, means anything.
    """
    try:
        info = type_info(hint)
    except Exception as exc:
        # Also NameError and the like, out of the fields of a class that the hint names.
        raise TypeError(str(exc).replace("\n", " ")) from exc
    takes_keys = False
    todo: list[object] = [info]
    seen: set[int] = set()
    while todo:
        item = todo.pop()
        if isinstance(item, tuple):
            todo.extend(typing.cast("tuple[object, ...]", item))
        elif isinstance(item, Type | Field) and id(item) not in seen:
            seen.add(id(item))  # recursive types are circles
            if isinstance(item, CustomType) and item.cls is not object:
                raise TypeError(f"{described(item.cls)} is not a type that it knows")
            if isinstance(item, RawType | ExtType):
                raise TypeError(f"{type(item).__name__.removesuffix('Type')} is not a JSON value")
            if isinstance(item, DictType):
                if not _can_be_key(item.key_type):
                    kind = type(item.key_type).__name__.removesuffix("Type")
                    raise TypeError(f"no key of a JSON object is read as {kind}")
                takes_keys = takes_keys or not isinstance(item.key_type, StrType | AnyType)
            # A field's default is any object; the rest are types, tuples of types, and bounds.
            todo.extend(getattr(item, name) for name in item.__struct_fields__ if not name.startswith("default"))
    return takes_keys


def _can_be_key(kind: Type) -> bool:
    """Return whether msgspec reads the key of any JSON object, which is a string, as *kind*."""
    if isinstance(kind, Metadata):
        return _can_be_key(kind.type)
    if isinstance(kind, UnionType):
        return any(map(_can_be_key, kind.types))
    if isinstance(kind, LiteralType):
        return any(type(value) in (str, int) for value in kind.values)
    return isinstance(kind, _TEXTS + _NUMBERS_AND_TIMES)
