# SPDX-License-Identifier: MIT
"""What a peer says of its methods: an OpenRPC document, read with care, since anybody may have made it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, cast

import tieline
from tieline.cli.exits import Exit, Failure
from tieline.cli.peer import Peer

__all__ = ["Offered", "Parameter", "advice", "offered"]

_PATIENCE = 5.0  # seconds for a question that is asked for the sake of a better text only
_SHOWN_NAMES = 8
_DEEP = 4


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a method: its *name*, its *type* in words, and whether it must be given."""

    name: str
    type: str
    is_required: bool


@dataclass(frozen=True, slots=True)
class Offered:
    """A method that a peer offers."""

    name: str
    parameters: tuple[Parameter, ...]
    result: str
    summary: str

    def arguments(self) -> str:
        """Return the parameters, as in a signature; those with a ``?`` may be left out."""
        return ", ".join(f"{each.name}{'' if each.is_required else '?'}: {each.type}" for each in self.parameters)

    def signature(self) -> str:
        """Return the name with the parameters."""
        return f"{self.name}({self.arguments()})"


def offered(document: object) -> list[Offered]:
    """Return the methods that an OpenRPC document describes; what is malformed in it is left out.

    Raises:
        Failure: It is no such document.
    """
    found = _object(document).get("methods")
    if not isinstance(found, list):
        raise Failure(Exit.LOST, "the peer's rpc.discover returns no OpenRPC document")
    return [_method(each) for each in _objects(cast("object", found)) if isinstance(each.get("name"), str)]


async def advice(session: tieline.ClientSession, method: str, failure: Failure, peer: Peer) -> str:
    """Return what to say when a peer has no such method, or other arguments: with what it has, if it tells."""
    is_unknown = failure.code is Exit.NO_METHOD
    text = f"{peer.where()} has no method {method!r}" if is_unknown else failure.text
    try:
        document = await session.send_request("rpc.discover", timeout=_PATIENCE)
        found = {each.name: each for each in offered(document)}
    except (tieline.TielineError, OSError, Failure):
        return f"{text} (and does not tell which it has)" if is_unknown else text
    if is_unknown and method in found:  # one that it calls in its turn is missing, perhaps here
        return failure.text
    if not is_unknown:
        return f"{text}; it is {found[method].signature()}" if method in found else text
    names = list(found)
    close = difflib.get_close_matches(method, names, 1)
    if close:
        return f"{text}; did you mean {close[0]!r}? (tieline methods {peer.url})"
    shown = ", ".join(names[:_SHOWN_NAMES]) + (", ..." if len(names) > _SHOWN_NAMES else "")
    return f"{text}; it has: {shown or 'none'} (tieline methods {peer.url})"


def _method(found: dict[str, Any]) -> Offered:
    params = [each for each in _objects(found.get("params")) if isinstance(each.get("name"), str)]
    summary = found.get("summary") or found.get("description") or ""
    return Offered(
        name=found["name"],
        parameters=tuple(_parameter(each) for each in params),
        result=_type(_object(found.get("result")).get("schema")),
        summary=str(summary).strip().partition("\n")[0],
    )


def _parameter(found: dict[str, Any]) -> Parameter:
    stars = {"array": "*", "object": "**"}.get(str(found.get("x-rest")), "")
    return Parameter(stars + found["name"], _type(found.get("schema")), found.get("required") is True)


def _type(schema: object, depth: int = 0) -> str:
    """Return a schema in a few words."""
    found = _object(schema)
    if depth > _DEEP:
        return "..."
    if isinstance(place := found.get("$ref"), str):
        return place.rpartition("/")[2]
    for key in ("anyOf", "oneOf", "allOf"):
        if parts := _objects(found.get(key)):
            return " or ".join(dict.fromkeys(_type(part, depth + 1) for part in parts))
    if isinstance(choices := found.get("enum"), list):
        return " or ".join(repr(each) for each in cast("list[object]", choices[:_SHOWN_NAMES]))
    kind = found.get("type")
    if isinstance(kind, list):
        return " or ".join(map(str, cast("list[object]", kind[:_SHOWN_NAMES])))
    if kind == "array" and (items := _object(found.get("items"))):
        return f"array of {_type(items, depth + 1)}"
    return str(kind) if kind is not None else "any"


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, Any]]:
    values = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", each) for each in values if isinstance(each, dict)]
