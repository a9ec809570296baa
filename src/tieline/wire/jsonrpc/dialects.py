# SPDX-License-Identifier: MIT
"""Dialects: what protocols over JSON-RPC differ in, as declarative values.

Code asks the dialect, never the version. A protocol class (`protocols.py`) carries one as its attribute ``dialect``;
users make their own with `dataclasses.replace`. Those of known protocols are in `known_dialects.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tieline.wire.values import dataclass, replace

if TYPE_CHECKING:
    from tieline.wire.framing.base import FramerBase

__all__ = ["AUTODETECT", "LOOSE", "V1", "V2", "CancelRule", "Dialect", "is_like_v2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRule:
    """How a call is cancelled: by a notification that names its id.

    It is sent for each call of this side that is cancelled or times out. When it is received, the call's handler is
    cancelled, or never started; but if a method of that name is registered, that is called instead.

    Attributes:
        method: The notification's method, for instance ``$/cancelRequest`` (LSP).
        id_name: The name of the parameter that holds the id; None = the parameters are an array of the id alone.
        code: The error code with which a cancelled call is answered; None = it is not answered at all.
        never: Methods whose calls must not be cancelled at the peer: nothing is sent for them, and a late reply is
            dropped.
    """

    method: str
    id_name: str | None = "id"
    code: int | None = None
    never: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One protocol over JSON-RPC.

    Attributes:
        name: For people and logs.
        version: The value of the member ``jsonrpc`` in what is sent; None leaves the member out.
        version_required: Incoming messages must carry ``version``.
        id_required: A request without an id is invalid (1.0), not a notification (2.0).
        first_id: The id of this side's first call on a connection. Some programs in JavaScript mistake 0 for a missing
            id.
        null_id_notifies: An id of null marks a notification (1.0). In 2.0 it is a request and is answered.
        any_id: Ids are any JSON value (1.0), not only strings and numbers.
        named_params: Parameters may be an object.
        positional_params: Parameters may be an array; otherwise an object is sent, an empty one if there are no
            arguments.
        null_params: ``"params": null`` counts as no parameters.
        batches: Arrays of messages may be sent, and are accepted.
        both_members: A response carries ``result`` and ``error``, one of them null.
        any_error: Error values of any type are accepted, not only ``{code, message}`` objects.
        faults_are_fatal: An invalid message ends the connection after its error reply.
        detects: The first message that can be parsed decides which dialect the connection speaks from then on.
        cancel: How a call is cancelled; None = the dialect has no message for that.
        echo: A method that is answered with its own parameters, by which the peer checks that this side is alive; None
            = there is none. If a method of that name is registered, it is called instead.
        ping: A method that is answered with an empty object, for the same purpose; otherwise as *echo*.
        codes: Error codes that differ, by the name that `RPCProtocolBase` has for them.
        framer: How messages are framed; None = one per line.
    """

    name: str
    version: str | None
    version_required: bool
    id_required: bool = False
    first_id: int = 0
    null_id_notifies: bool = False
    any_id: bool = False
    named_params: bool = True
    positional_params: bool = True
    null_params: bool = False
    batches: bool = True
    both_members: bool = False
    any_error: bool = False
    faults_are_fatal: bool = False
    detects: bool = False
    cancel: CancelRule | None = None
    echo: str | None = None
    ping: str | None = None
    codes: tuple[tuple[str, int], ...] = ()
    framer: type[FramerBase] | None = None

    def __post_init__(self) -> None:
        if self.first_id.__class__ is not int or self.first_id < 0:
            raise ValueError(f"{self.name}: first_id must be an int >= 0, not {self.first_id!r}")
        if not (self.named_params or self.positional_params):
            raise ValueError(f"{self.name}: a dialect needs named_params or positional_params")
        if self.cancel is not None:
            by_name = self.cancel.id_name is not None
            if not (self.named_params if by_name else self.positional_params):
                needed = "named_params" if by_name else "positional_params"
                raise ValueError(f"{self.name}: to take calls back as its CancelRule says, a dialect needs {needed}")


V2: Final = Dialect(name="JSON-RPC 2.0", version="2.0", version_required=True)

V1: Final = Dialect(
    name="JSON-RPC 1.0",
    version=None,
    version_required=False,
    id_required=True,
    null_id_notifies=True,
    any_id=True,
    named_params=False,
    batches=False,
    both_members=True,
    any_error=True,
    faults_are_fatal=True,
)

LOOSE: Final = Dialect(name="JSON-RPC, any", version="2.0", version_required=False, null_params=True, any_error=True)

AUTODETECT: Final = Dialect(
    name="JSON-RPC, to be detected",
    version="2.0",
    version_required=False,
    null_params=True,
    any_error=True,
    detects=True,
)


def is_like_v2(dialect: Dialect) -> bool:
    """Return whether messages of *dialect* are read and written as those of `V2` are, to the byte; arrays aside."""
    unlike: dict[str, Any] = {"first_id": 0, "batches": True, "positional_params": True, "codes": (), "framer": None}
    unlike |= {"cancel": None, "echo": None, "ping": None}
    return dialect is V2 or replace(dialect, name=V2.name, **unlike) == V2
