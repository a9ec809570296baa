# SPDX-License-Identifier: MIT
"""Frozen values that cost little to define: `dataclass` and `replace` of the standard library, by other means.

The standard library's decorator writes and compiles six methods for each class, which takes 0.4 to 1.4 ms: for our few
classes a quarter of what importing tieline took. Here all classes share methods that look the fields up when they run.
Making a value takes longer for it, so this is for values that are made now and then, not for each message.

What users see is as before, and what type checkers see are the originals: `dataclasses.fields`, `asdict` and `replace`
take these values, and methods that a class defines itself stand. Known are classes without a base, whose defaults are
plain values.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Value", "changed", "dataclass", "replace", "value_class"]

T = TypeVar("T")

_twins: Final[dict[type[Any], type[Any]]] = {}


def _twin(written: type[Any], kw_only: bool) -> type[Any]:
    """Return the class that the standard library makes of *written*, which stays as it is."""
    if written not in _twins:
        import dataclasses  # lazily, as it takes 1 ms to load: programs that only use the values do without

        copy = type(written.__name__, (), _body(written))
        _twins[written] = dataclasses.dataclass(frozen=True, kw_only=kw_only)(copy)
    return _twins[written]


def _body(written: type[Any]) -> dict[str, Any]:
    return {name: member for name, member in vars(written).items() if name not in {"__dict__", "__weakref__"}}


class _Told:
    """An attribute of the class that its twin tells."""

    def __init__(self, ask: Callable[[type[Any]], object]) -> None:
        self._ask = ask

    def __get__(self, _value: Value | None, kind: type[Value]) -> Any:
        written, kw_only = kind.__value_written__
        return self._ask(_twin(written, kw_only))


def _signature(twin: type[Any]) -> object:
    import inspect  # lazily: for `help` and the like

    return inspect.signature(twin)


class Value:
    """What the values have in common: the methods that the standard library would have compiled for each class."""

    __slots__ = ()

    __match_args__: ClassVar[tuple[str, ...]]  # those that may be given by position: all or none
    __value_names__: ClassVar[tuple[str, ...]]
    __value_defaults__: ClassVar[dict[str, object]]
    __value_written__: ClassVar[tuple[type[Any], bool]]  # the class as it is in its file, and whether it is kw_only

    __dataclass_fields__ = _Told(attrgetter("__dataclass_fields__"))
    __dataclass_params__ = _Told(attrgetter("__dataclass_params__"))
    __signature__ = _Told(_signature)

    def __init__(self, /, *args: object, **given: object) -> None:
        names = self.__value_names__
        if args:
            if given or len(args) > len(self.__match_args__):
                self._check_positional(args, given)
            given.update(zip(names, args, strict=False))
        values = self.__value_defaults__ | given
        put = object.__setattr__
        try:
            for name in names:
                put(self, name, values[name])
        except KeyError:
            raise self._misfit(given) from None
        if len(values) != len(names):
            raise self._misfit(given)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the fields; for classes that do."""

    def _check_positional(self, args: tuple[object, ...], given: dict[str, object]) -> None:
        call = f"{type(self).__name__}.__init__()"
        most = len(self.__match_args__)
        if len(args) > most:
            # Counted with self, as Python does.
            raise TypeError(f"{call} takes {most + 1} positional arguments but {len(args) + 1} were given")
        for name in self.__value_names__[: len(args)]:
            if name in given:
                raise TypeError(f"{call} got multiple values for argument {name!r}")

    def _misfit(self, given: dict[str, object]) -> TypeError:
        call = f"{type(self).__name__}.__init__()"
        for name in given:
            if name not in self.__value_names__:
                from difflib import get_close_matches  # lazily, for mistakes alone

                close = get_close_matches(name, self.__value_names__, 1)
                lead = f": did you mean {close[0]!r}?" if close else ""
                return TypeError(f"{call} got an unexpected keyword argument {name!r}{lead}")
        missing = [name for name in self.__value_names__ if name not in given and name not in self.__value_defaults__]
        return TypeError(f"{call} is missing {', '.join(map(repr, missing))}")

    def _fields(self) -> tuple[object, ...]:
        return tuple([getattr(self, name) for name in self.__value_names__])

    def __eq__(self, other: object) -> bool:
        if other.__class__ is self.__class__ and isinstance(other, Value):
            return self._fields() == other._fields()
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__value_names__)
        return f"{type(self).__qualname__}({shown})"

    def __setattr__(self, name: str, value: object) -> None:
        from dataclasses import FrozenInstanceError  # lazily: who changes a value has made a mistake

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        from dataclasses import FrozenInstanceError  # as above

        raise FrozenInstanceError(f"cannot delete field {name!r}")

    # For pickle and copy, which would set the slots one by one.

    def __getstate__(self) -> tuple[object, ...]:
        return self._fields()

    def __setstate__(self, state: tuple[object, ...]) -> None:
        for name, value in zip(self.__value_names__, state, strict=True):
            object.__setattr__(self, name, value)

    def __replace__(self, /, **changes: object) -> Any:  # copy.replace, from CPython 3.13 on
        return changed(self, **changes)


def value_class(*, frozen: bool, slots: bool, kw_only: bool = False) -> Callable[[type[T]], type[T]]:
    """Make a class of frozen values: `dataclasses.dataclass`, with *frozen* and *slots* both true."""
    assert frozen
    assert slots

    def make(written: type[T]) -> type[T]:
        names = tuple(written.__annotations__)
        body = _body(written)
        defaults = {name: body.pop(name) for name in names if name in body}
        body.update(
            __slots__=names,
            __match_args__=() if kw_only else names,
            __value_names__=names,
            __value_defaults__=defaults,
            __value_written__=(written, kw_only),
        )
        return cast("type[T]", type(written.__name__, (Value,), body))

    return make


def changed(value: Any, /, **changes: object) -> Any:
    """Return a value like *value*, with other fields where *changes* has some: `dataclasses.replace`."""
    return type(value)(**{name: getattr(value, name) for name in value.__value_names__} | changes)


if TYPE_CHECKING:
    # The originals, for whose sake type checkers know a class's constructor.
    from dataclasses import dataclass, replace
else:
    dataclass, replace = value_class, changed
