# SPDX-License-Identifier: MIT
"""What every framer offers, and the rule that each connection has a framer of its own.

A framer cuts a stream into messages and wraps messages for a stream. It owns the bytes of the unfinished message and
refuses to know what a message means, when it came and over which connection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Self, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import TypeVar  # type checkers know it, and it is not asked for at run time

    # Said by name only by those whose messages are not bytes.
    MessageT = TypeVar("MessageT", default=bytes)
else:
    from typing import TypeVar

    MessageT = TypeVar("MessageT")

__all__ = ["FramerBase", "MessageT", "fresh_framer", "own_framer"]


class FramerBase(ABC, Generic[MessageT]):
    """The base of all framers. To write your own, override `frame` and `messages`.

    Messages are bytes. ``FramerBase[T]`` is for protocols whose frames carry more than the message, such as the command
    that a payload belongs to; only a `MessageSession` accepts those.

    A framer serves both directions of one connection; the two share no state.

    Attributes:
        pending: The number of bytes that are buffered of an incomplete message. A framer that does not know leaves it
            0; then the end of the stream in the middle of a message looks like a clean end.
        damaged: The number of messages that were dropped because they were damaged, for framings that detect this and
            can continue.
        frames_bytes: Whether messages are bytes, which JSON-RPC sessions require.
        is_between: Whether the stream is between two messages, with nothing buffered. Only for framings that end each
            message with a newline; others leave it False.
        is_text: Whether a stream of this framing can never begin with the bytes 0x15 or 0x16, as TLS does. A stream
            that does is closed without an answer, with an error that names TLS.
        is_handed_out: Whether a connection uses this framer already: it cannot be shared.
        overhead: The number of bytes that a frame adds to its message, if messages are not bytes and the number is
            constant: `Limits.max_message` limits what is sent without them.
    """

    __slots__ = ()

    pending: int = 0
    damaged: int = 0
    frames_bytes: bool = True
    is_between: bool = False
    is_handed_out: bool = False
    is_text: bool = False
    overhead: int = 0

    @classmethod
    def with_limit(cls, max_size: int) -> Self:
        """Return a new framer for messages of up to *max_size* bytes; 0 = no limit.

        Sessions that are given a framer class call this. The framers of tieline take the limit from here; a subclass
        with its own constructor is created without arguments, unless it overrides this method too.
        """
        return cls()

    @abstractmethod
    def frame(self, messages: Iterable[MessageT]) -> bytes:
        """Return *messages*, wrapped and joined, ready to be written.

        A session frames each message separately, when it is sent, and in that order. An exception is raised to the
        sender of the message; a reply is replaced by an error.

        Raises:
            TypeError: Something in *messages* is not bytes-like. Your fault; nothing was framed.
            ValueError: A message cannot be carried by this framing. Your fault; nothing was framed.
        """

    @abstractmethod
    def messages(self, data: bytes) -> Iterator[MessageT]:
        """Yield the messages that *data* completes, oldest first, without their wrapping.

        *data* is the next piece of the stream, cut anywhere. Iterate to the end: what is not taken may be lost.

        Raises an exception for a fault in the peer's bytes, after the messages before the fault. If the framing can go
        on after it, a further ``messages(b"")`` continues with the rest of *data*, and may find the next fault; if it
        cannot, every further call raises.
        """

    def take(self, data: bytes) -> tuple[list[MessageT], Exception | None]:
        """Return all messages that *data* completes up to the first fault, and that fault, or None.

        This is `messages` for callers that must not be interrupted. Every exception is returned, also one that a user's
        framer raises by mistake, since the peer's bytes have caused it. `messages` says how to go on.
        """
        taken: list[MessageT] = []
        try:
            # Not extend(): that it keeps what came before an exception is nowhere promised.
            for message in self.messages(data):
                taken.append(message)  # noqa: PERF402
        except Exception as exc:
            return taken, exc
        return taken, None


def fresh_framer(source: object, max_size: int | None = None) -> FramerBase[Any]:
    """Return a new framer from *source*, which is a `FramerBase` subclass or a callable without arguments.

    A class is told the limit of messages, *max_size* bytes (0 = none, None = nothing to tell): `FramerBase.with_limit`.
    For whatever serves many connections. A caller with a single connection may take an instance and needs no rule.
    The parameter's type is object because users pass anything here, and are to be told.

    Raises:
        TypeError: *source* is a framer (its one buffer would mix the bytes of all connections), cannot be called, or
            returned something other than a framer, or one that it had returned before.
    """
    if isinstance(source, FramerBase):
        name = type(cast("object", source)).__name__
        raise TypeError(
            f"a framer belongs to one connection, and this {name} would mix the bytes of all of them: "
            f"pass the class {name}, or a function that returns a new one, as in lambda: {name}(...)"
        )
    if not callable(source):
        raise TypeError(f"framer must be a FramerBase subclass or a function, not {type(source).__name__}")
    made: object
    if max_size is not None and isinstance(source, type) and issubclass(source, FramerBase):
        made = cast("type[FramerBase]", source).with_limit(max_size)
    else:
        made = source()
    framer: Any = made
    if not isinstance(made, FramerBase):
        raise TypeError(f"the framer factory must return a FramerBase, not {type(framer).__name__}")
    if not _hand_out(framer):
        raise TypeError("the framer factory returned the same framer twice; it must return a new one each time")
    fresh: FramerBase[Any] = framer
    return fresh


def own_framer(framer: FramerBase[Any]) -> FramerBase[Any]:
    """Return *framer*, which was given to serve one connection, and take note that it has it now.

    Raises:
        TypeError: It has had one before, whose bytes it may still hold.
    """
    if not _hand_out(framer):
        raise TypeError(
            f"a framer belongs to one connection, and this {type(framer).__name__} has had one: "
            "make a new one for each session, or pass its class"
        )
    return framer


def _hand_out(framer: Any) -> bool:
    """Take note that a connection has *framer*; return False when it was so already."""
    is_new = not framer.is_handed_out
    framer.is_handed_out = True
    return is_new
