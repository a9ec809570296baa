# SPDX-License-Identifier: MIT
"""Binding: a peer's arguments onto a function's parameters.

This file owns signatures: which arguments a function takes from a peer, where its session goes, and what is said about
arguments that are missing, too many or unknown. Everything that can be known from the function is computed once, at
registration; a call compares, converts and calls. It knows no names of methods and no runtime.
"""

from __future__ import annotations

__all__ = ["ArgumentsError", "Binding", "Caller", "Convert", "layers", "parameters", "result_hint"]

import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from inspect import Parameter
from typing import Any, Final, cast

import msgspec
from msgspec import UNSET

from tieline.rpc.hints import Convert, Slot, caller_classes, described, resolve, shown
from tieline.rpc.outcomes import ArgumentsError
from tieline.rpc.session_classes import Caller
from tieline.rpc.shortcuts import compile_shortcuts

_SHOWN_NAMES: Final = 5  # unknown names that one text lists; the peer chooses how many there are


class Binding:
    """A function that a peer may call, with its signature worked out.

    ``invoke(params, session, convert)`` calls it, and so does what `compiled` returns: *params* is a list, a dict with
    string keys, or None or `msgspec.UNSET` for no arguments; *session* goes to the parameter that asks for one
    (`Caller`); *convert* makes a value fit a hint, and raises ValueError or TypeError only. It returns what the
    function returns: for an ``async def``, the coroutine. It raises `ArgumentsError`, before the function is called,
    when the arguments do not fit; whatever the function itself raises comes out unchanged, a TypeError included.

    Values whose class is exactly a plain hint (int, str, bool, float, list, dict, None, and unions of them) are
    passed without asking *convert*; so are those of parameters without a hint, or hinted Any or object.

    Attributes:
        callers: Of which classes the session may be; none = it is not passed.

    Raises:
        TypeError: The function has no signature, or a hint that cannot be resolved or converted to; the text names
            the function, the parameter and the hint.
    """

    __slots__ = (
        "_by_name", "_by_position", "_defaults", "_extra", "_function", "_hidden", "_least", "_named_only",
        "_required", "_rest", "_session_index", "_session_name", "callers",
    )  # fmt: skip

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function
        self._by_position: list[Slot] = []  # the positional parameters, without the session's
        self._defaults: list[object] = []  # of the same; Parameter.empty marks the required ones
        self._by_name: dict[object, Slot] = {}  # what a dict may name
        self._named_only: list[str] = []  # required parameters that a list cannot fill
        self._rest: Slot | None = None  # *args
        self._extra: Slot | None = None  # **kwargs
        self._session_index = -1  # where the session goes among the positional arguments; -1: only by name
        self._session_name = ""  # how the session is passed by name; "" : not at all
        self._hidden: frozenset[str] = frozenset()  # names that **kwargs must not catch
        self.callers: tuple[type, ...] = ()
        for parameter, hint in parameters(function):
            self._add(parameter, hint)
        self._least = sum(default is Parameter.empty for default in self._defaults)
        self._required = [slot.name for slot in self._by_position[: self._least]] + self._named_only

    def compiled(self) -> Callable[..., Any]:
        """Return what does the same as `invoke`, and is quicker. To make it takes as long as hundreds of calls save."""
        positional = [slot.name for slot in self._by_position]
        return compile_shortcuts(
            self._function,
            self.invoke,
            self._by_position,
            [slot for name, slot in self._by_name.items() if name not in positional],
            lengths=range(0) if self._named_only else range(self._least, len(positional) + 1),
            has_rest=self._rest is not None,
            nameable=all(name in self._by_name for name in positional),
            session_index=self._session_index,
            session_name=self._session_name,
        )

    def _add(self, parameter: Parameter, hint: object) -> None:
        name, kind = parameter.name, parameter.kind
        positional = kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        if callers := caller_classes(hint):
            self.callers = callers
            self._take_session(parameter, positional)
            return
        try:
            slot = Slot(name, hint)
        except TypeError as exc:
            raise _hint_error(self._function, name, hint, f"which msgspec does not support: {exc}") from exc
        if kind is Parameter.VAR_POSITIONAL:
            self._rest = slot
            return
        if kind is Parameter.VAR_KEYWORD:
            self._extra = slot  # the last parameter always: all other names are known
            hidden = _layer_names(self._function)
            if self._session_name:
                hidden.add(self._session_name)
            self._hidden = frozenset(hidden - self._by_name.keys())
            return
        if positional:
            self._by_position.append(slot)
            self._defaults.append(parameter.default)
        elif parameter.default is Parameter.empty:
            self._named_only.append(name)
        if kind is not Parameter.POSITIONAL_ONLY:
            self._by_name[name] = slot

    def _take_session(self, parameter: Parameter, positional: bool) -> None:
        name, kind = parameter.name, parameter.kind
        if kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            raise TypeError(f"{_named(self._function)}: parameter {name!r} cannot take the session: there is only one")
        if self._session_index >= 0 or self._session_name:
            raise TypeError(f"{_named(self._function)}: parameter {name!r} is the second one that takes the session")
        if positional:
            self._session_index = len(self._by_position)
        if kind is not Parameter.POSITIONAL_ONLY:
            self._session_name = name

    def invoke(self, params: object, session: Caller | None, convert: Convert = msgspec.convert) -> Any:
        """Call the function with any arguments that fit; see the class."""
        args: list[object] = []
        kwargs: dict[str, object] = {}
        if isinstance(params, dict):
            self._bind_names(cast("dict[object, object]", params), kwargs, convert)
        elif isinstance(params, list | tuple):
            args = self._bind_values(cast("Sequence[object]", params), convert)
        elif params is None or params is UNSET:
            args = self._bind_values((), convert)
        else:
            raise ArgumentsError(f"arguments must be an array or an object, not {type(params).__name__}")
        index = self._session_index
        if index >= 0 and (index <= len(args) or not self._session_name):
            args.extend(self._defaults[len(args) : index])
            args.insert(index, session)
        elif self._session_name:
            kwargs[self._session_name] = session
        return self._function(*args, **kwargs)

    def _bind_values(self, params: Sequence[object], convert: Convert) -> list[object]:
        slots, count, rest = self._by_position, len(params), self._rest
        most = len(slots)
        if count > most and rest is None:
            raise self._too_many(count)
        if count < self._least or self._named_only:
            raise _missing([slot.name for slot in slots[count : self._least]] + self._named_only)
        args = [
            value if (exact := slot.exact) is None or value.__class__ in exact else slot.fit(value, convert)
            for slot, value in zip(slots, params, strict=False)
        ]
        if count > most and rest is not None:
            args.extend([rest.fit(params[index], convert, index - most) for index in range(most, count)])
        return args

    def _bind_names(self, params: dict[object, object], kwargs: dict[str, object], convert: Convert) -> None:
        by_name, extra = self._by_name, self._extra
        unknown: list[object] = []
        for name, value in params.items():
            slot = by_name.get(name)
            if slot is not None:
                fits = (exact := slot.exact) is None or value.__class__ in exact
                kwargs[slot.name] = value if fits else slot.fit(value, convert)
            elif extra is not None and isinstance(name, str) and name not in self._hidden:
                kwargs[name] = extra.fit(value, convert, name)
            else:
                unknown.append(name)
        if unknown:
            raise ArgumentsError(_counted("unknown argument", map(shown, unknown[:_SHOWN_NAMES]), len(unknown)))
        # A name in kwargs is not always the parameter's: `def f(a, /, **others)` takes {"a": 1} for one of the others.
        missing = [name for name in self._required if name not in kwargs or name not in by_name]
        if missing:
            raise _missing(missing)

    def _too_many(self, count: int) -> ArgumentsError:
        most = len(self._by_position)
        if not most:
            return ArgumentsError(f"takes no arguments by position, got {count}")
        names = ", ".join(repr(slot.name) for slot in self._by_position)
        return ArgumentsError(f"takes at most {most} {'argument' if most == 1 else 'arguments'} ({names}), got {count}")


def parameters(function: Callable[..., object]) -> Iterable[tuple[Parameter, object]]:
    """Yield the function's parameters as a caller sees them, with their hints resolved.

    Raises:
        TypeError: It has no signature, or a hint that cannot be resolved.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as exc:
        raise TypeError(f"{_named(function)} has no signature to bind to: {exc}") from exc
    global_names, local_names = _scope(function)
    for parameter in signature.parameters.values():
        annotation: object = parameter.annotation
        if annotation is not Parameter.empty:
            try:
                annotation = resolve(annotation, parameter.name, global_names, local_names)
            except TypeError as exc:
                raise _hint_error(function, parameter.name, annotation, f"which {exc}") from exc
        yield parameter, annotation


def result_hint(function: Callable[..., object]) -> object:
    """Return the hint of the function's result; Parameter.empty where there is none, or none that can be resolved."""
    annotation: object = inspect.signature(function).return_annotation
    if annotation is Parameter.empty:
        return annotation
    try:
        return resolve(annotation, "return", *_scope(function))
    except TypeError:  # calls do not need it
        return Parameter.empty


def _scope(function: Callable[..., object]) -> tuple[dict[str, Any], dict[str, object]]:
    """Return the global and the local names by which the function's hints mean what they mean."""
    origin = layers(function)[-1]
    # Without globals (a builtin, a class without a constructor of its own), hints mean what they mean in its module.
    module = sys.modules.get(getattr(origin, "__module__", None) or "builtins", types)
    global_names: dict[str, Any] = getattr(origin, "__globals__", None) or vars(module)
    return global_names, {each.__name__: each for each in getattr(origin, "__type_params__", ())}


def layers(function: object) -> list[object]:
    """Return *function* and what it stands for, outermost first: partials, methods, wrappers, callable objects."""
    layers: list[object] = []
    layer: object | None = function
    while layer is not None:
        layers.append(layer)
        layer = _inner(layer)
    return layers


def _inner(layer: Any) -> object | None:  # Any: what it is, is found by looking
    if isinstance(layer, functools.partial):
        return layer.func
    if isinstance(layer, types.MethodType):
        return layer.__func__
    if not isinstance(layer, type) and hasattr(layer, "__wrapped__"):
        wrapped: object = layer.__wrapped__
        return wrapped
    if hasattr(layer, "__globals__"):
        return None
    kind, name = (layer, "__init__") if isinstance(layer, type) else (type(layer), "__call__")
    inner: object = getattr(kind, name, None)
    return inner if hasattr(inner, "__globals__") else None


def _layer_names(function: object) -> set[str]:
    """Return every name by which some layer of *function* takes an argument.

    Those that the signature does not show (the ``self`` of a method, what a partial filled, the options of a wrapper)
    would clash with, or be set by, a peer that reaches them through ``**kwargs``.
    """
    names: set[str] = set()
    for layer in layers(function):
        code = getattr(layer, "__code__", None)
        if isinstance(code, types.CodeType):
            names.update(code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount])
    return names


def _named(function: object) -> str:
    return f"{getattr(function, '__qualname__', None) or type(function).__qualname__}()"


def _hint_error(function: object, name: str, hint: object, why: str) -> TypeError:
    return TypeError(f"{_named(function)}: parameter {name!r} has the type hint {described(hint)}, {why}")


def _missing(names: list[str]) -> ArgumentsError:
    return ArgumentsError(_counted("missing argument", map(repr, names), len(names)))


def _counted(what: str, names: Iterable[str], count: int) -> str:
    listed = list(names)
    more = f" and {count - len(listed)} more" if count > len(listed) else ""
    return f"{what}{'' if count == 1 else 's'} {', '.join(listed)}{more}"
