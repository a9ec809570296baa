# SPDX-License-Identifier: MIT
"""Discovery: what a registry offers, described in OpenRPC form for those who ask.

This file owns the description: which member of the OpenRPC specification (1.3.2) says what of a function. Signatures
and hints are those of binding.py, so that what is described is what is checked. It is loaded when a registry offers
discovery, and works when somebody asks for the first time.
"""

from __future__ import annotations

__all__ = ["DISCOVER", "Discovery"]

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter
from math import isfinite
from typing import Any, Final, Protocol, cast

import msgspec

from tieline.rpc.binding import layers, parameters, result_hint
from tieline.rpc.hints import caller_classes

DISCOVER: Final = "rpc.discover"  # OpenRPC, "Service Discovery Method"

_OPENRPC: Final = "1.3.2"
_EXTENSION: Final = "rpc."  # JSON-RPC 2.0, section 4: such methods belong to the protocol, not to the service
_PLACE: Final = "#/components/schemas/{name}"
_REST: Final[Mapping[object, str]] = {Parameter.VAR_POSITIONAL: "array", Parameter.VAR_KEYWORD: "object"}


class _Described(Protocol):
    """What is described of a method: `tieline.rpc.methods.Method` is one."""

    name: str
    function: Callable[..., object]


class Discovery:
    """The description of the methods in *table*, kept until the table changes.

    Args:
        table: The methods by name. Those whose names begin with ``rpc.`` are left out.
        title: What the service is called.
        version: The version of the service, not of OpenRPC.
        description: More about the service, or None.
    """

    __slots__ = ("_document", "_info", "_seen", "_table")

    def __init__(self, table: Mapping[str, _Described], title: str, version: str, description: str | None) -> None:
        self._table = table
        self._info = {"title": title, "version": version}
        if description is not None:
            self._info["description"] = description
        self._seen: tuple[_Described, ...] = ()
        self._document: dict[str, Any] | None = None

    def discover(self) -> dict[str, Any]:
        """Describe what this service offers, as an OpenRPC document."""
        # It takes milliseconds to make, and whoever may call could ask all the time.
        methods = tuple(self._table.values())
        if self._document is None or methods != self._seen:
            self._document = _document(self._info, methods)
            self._seen = methods
        return self._document


def _document(info: Mapping[str, str], methods: Iterable[_Described]) -> dict[str, Any]:
    shown = [method for method in methods if not method.name.startswith(_EXTENSION)]
    hints = [_Hints(method.function) for method in shown]
    # In one go: a class that two methods name is described once, and two classes of one name under different ones.
    schemas, components = _schemas([hint for each in hints for hint in each.all()])
    found = iter(schemas)
    described = [_method(method, each, found) for method, each in zip(shown, hints, strict=True)]
    document: dict[str, Any] = {"openrpc": _OPENRPC, "info": dict(info), "methods": described}
    if components:
        document["components"] = {"schemas": components}
    return document


class _Hints:
    """The parameters of a function that a peer fills, and its result; `typing.Any` where there is no usable hint."""

    __slots__ = ("parameters", "result")

    def __init__(self, function: Callable[..., object]) -> None:
        self.parameters = [
            (parameter, Any if hint is Parameter.empty else hint)
            for parameter, hint in parameters(function)
            if not caller_classes(hint)
        ]
        self.result = result_hint(function)
        # Parameters were judged when the method was registered. A result may be hinted with anything, and an argument
        # by what msgspec can convert to and JSON Schema cannot say.
        self.parameters = [(each, hint if _can_be_said(hint) else Any) for each, hint in self.parameters]
        if self.result is Parameter.empty or not _can_be_said(self.result):
            self.result = Any

    def all(self) -> list[object]:
        return [*(hint for _, hint in self.parameters), self.result]


def _method(method: _Described, hints: _Hints, schemas: Any) -> dict[str, Any]:
    """Return a Method Object; *schemas* is an iterator over the schemas of its hints, in their order."""
    described: dict[str, Any] = {"name": method.name}
    summary, _, description = _docstring(method.function).partition("\n")
    if summary:
        described["summary"] = summary.strip()
    if description.strip():
        described["description"] = description.strip()
    content = [_content(parameter, next(schemas)) for parameter, _ in hints.parameters]
    structure = _structure([parameter for parameter, _ in hints.parameters])
    if structure == "by-name":
        content.sort(key=lambda each: not each["required"])  # the required ones come first, says the specification
    described["paramStructure"] = structure
    described["params"] = content
    described["result"] = {"name": "result", "schema": next(schemas)}
    return described


def _content(parameter: Parameter, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the Content Descriptor of a parameter.

    OpenRPC has no word for ``*args`` and ``**kwargs``: ``x-rest`` says what the rest of the arguments comes in.
    """
    rest = _REST.get(parameter.kind)
    required = parameter.default is Parameter.empty and rest is None
    content: dict[str, Any] = {"name": parameter.name, "required": required, "schema": schema}
    if rest is not None:
        content["x-rest"] = rest
    elif not required:
        default = _as_json(parameter.default)
        if default is not msgspec.UNSET:
            # Beside a $ref nothing else counts (JSON Schema draft 7, 8.3).
            content["schema"] = (
                {"allOf": [schema], "default": default} if "$ref" in schema else schema | {"default": default}
            )
    return content


def _structure(given: Sequence[Parameter]) -> str:
    """Return in which ways arguments may be passed."""
    if any(each.kind in {Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL} for each in given):
        return "by-position"
    named_only = (each for each in given if each.kind is Parameter.KEYWORD_ONLY)
    return "by-name" if any(each.default is Parameter.empty for each in named_only) else "either"


# --- schemas ---------------------------------------------------------------------------------------------------------


def _schemas(hints: Sequence[object]) -> tuple[Sequence[dict[str, Any]], dict[str, Any]]:
    found, components = msgspec.json.schema_components(hints, schema_hook=_of_custom_type, ref_template=_PLACE)
    return cast("Sequence[dict[str, Any]]", found), components


def _of_custom_type(kind: type) -> dict[str, Any]:
    """Return the schema of a class that msgspec does not know."""
    if kind is object:
        return {"description": "any value"}  # an empty schema would be right, but msgspec takes it for none
    raise NotImplementedError


def _can_be_said(hint: object) -> bool:
    try:
        _schemas([hint])
    except Exception:  # also NameError and the like, out of the fields of a class
        return False
    return True


def _as_json(value: object) -> object:
    """Return a default as JSON has it, or UNSET for one that JSON cannot carry."""
    if isinstance(value, float) and not isfinite(value):
        return msgspec.UNSET
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return msgspec.UNSET


def _docstring(function: Callable[..., object]) -> str:
    """Return the docstring of a function, or of what a partial or a wrapper stands for; "" where there is none."""
    for layer in layers(function):
        # A partial's own is that of the class `partial`, and an instance has that of its class, which may be good.
        if not isinstance(layer, functools.partial):
            text: object = getattr(layer, "__doc__", None)
            if isinstance(text, str) and text.strip():
                return inspect.cleandoc(text)
    return ""
