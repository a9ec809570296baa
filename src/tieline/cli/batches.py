# SPDX-License-Identifier: MIT
"""Files of requests for `tieline call --batch`, and what comes of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeGuard

import tieline
from tieline.cli.exits import Exit, Failure
from tieline.cli.sending import error_object
from tieline.cli.showing import line, readable
from tieline.cli.words import json_value

__all__ = ["Member", "as_objects", "as_text", "read", "send"]

_EXPECTED = '{"method": "add", "params": [1, 2], "id": 1}, or ["add", 1, 2]'


@dataclass(frozen=True, slots=True)
class Member:
    """A request of a batch.

    Attributes:
        method: The method's name.
        args: A list, a dict, or None.
        is_call: Whether it is answered; else it is a notification.
        id: The id that the file has for it.
    """

    method: str
    args: Any
    is_call: bool
    id: Any = None


def read(name: str) -> list[Member]:
    """Return the requests in the file *name* (- is standard input): a JSON array of them, or one a line.

    Raises:
        Failure: It cannot be read, or holds something else.
    """
    shown = "standard input" if name == "-" else name
    try:
        text = _standard_input() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as exc:
        raise Failure(Exit.USAGE, f"cannot read the batch {shown}: {(exc.strerror or str(exc)).lower()}") from exc
    except UnicodeDecodeError as exc:
        raise Failure(Exit.USAGE, f"the batch {shown} is not UTF-8 text: {exc.reason} at byte {exc.start}") from exc
    members = [_member(value, f"{shown}, {place}") for place, value in _values(text, shown)]
    if not members:
        raise Failure(Exit.USAGE, f"the batch {shown} is empty; expected lines like {_EXPECTED}")
    return members


def _standard_input() -> str:
    stream: TextIO | None = sys.stdin
    if stream is None:
        raise OSError("it is closed")
    return stream.read()


def _values(text: str, shown: str) -> list[tuple[str, Any]]:
    """Return what is in the file, each with where it stands."""
    if text.lstrip().startswith("["):
        try:
            whole = json_value(text)
        except ValueError:
            pass  # lines of arrays
        else:
            # An array whose first member is a text is one request in its short form.
            if whole and not isinstance(whole[0], str):
                return [(f"request {number}", value) for number, value in enumerate(whole, 1)]
    found: list[tuple[str, Any]] = []
    for number, text_line in enumerate(text.split("\n"), 1):  # in JSON no other character ends a line
        if text_line.strip():
            try:
                found.append((f"line {number}", json_value(text_line)))
            except ValueError as exc:
                raise Failure(Exit.USAGE, f"{shown}, line {number} is not JSON: {exc}; expected {_EXPECTED}") from exc
    return found


def _member(value: object, place: str) -> Member:
    method: object
    args: object
    own_id: object = None
    if _is_array(value):
        method, args, is_call = value[0] if value else None, value[1:], True
    elif _is_object(value):
        method, args, is_call, own_id = value.get("method"), value.get("params"), "id" in value, value.get("id")
    else:
        raise Failure(Exit.USAGE, f"{place} is not a request; expected {_EXPECTED}")
    if not isinstance(method, str) or not method:
        raise Failure(Exit.USAGE, f"{place} names no method; expected {_EXPECTED}")
    if not (args is None or _is_array(args) or _is_object(args)):
        raise Failure(Exit.USAGE, f"{place}: params must be an array or an object")
    return Member(method, args, is_call, own_id)


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


async def send(session: tieline.SessionBase, members: Sequence[Member], timeout: float | None) -> list[object]:
    """Send all in one message, and return what the calls came to: values and exceptions.

    Raises:
        Failure: They cannot be sent.
    """
    batch = session.new_batch()
    for member in members:
        if member.is_call:
            batch.add_request(member.method, member.args)
        else:
            batch.add_notification(member.method, member.args)
    try:
        session.send_batch(batch, timeout=tieline.DEFAULT if timeout is None else timeout)
    except (TypeError, ValueError, RecursionError, RuntimeError) as exc:  # also: busy, too large, no batches in 1.0
        raise Failure(Exit.USAGE, f"the batch cannot be sent: {exc}") from exc
    await batch
    return list(batch.results)


def as_text(calls: Sequence[Member], results: Sequence[object]) -> str:
    """Return the outcomes for people, a line each."""
    width = max((len(line(call.method)) for call in calls), default=0)
    return "\n".join(
        f"{line(call.method):<{width}}  {_outcome(result)}" for call, result in zip(calls, results, strict=True)
    )


def as_objects(calls: Sequence[Member], results: Sequence[object]) -> list[dict[str, Any]]:
    """Return the outcomes for programs: as JSON-RPC has responses, with the ids of the file."""
    found: list[dict[str, Any]] = []
    for call, result in zip(calls, results, strict=True):
        own = {} if call.id is None else {"id": call.id}
        if isinstance(result, tieline.RPCError):
            found.append(own | {"error": error_object(result)})
        elif isinstance(result, BaseException):
            found.append(own | {"error": {"message": str(result)}})
        else:
            found.append(own | {"result": result})
    return found


def _outcome(result: object) -> str:
    return f"error: {line(str(result))}" if isinstance(result, BaseException) else readable(result)
