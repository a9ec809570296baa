# SPDX-License-Identifier: MIT
"""Where a JSON text ends, found without reading what it says, in pieces cut anywhere.

Brackets are counted, strings and their escapes are respected, nothing else is looked at: `[}` and `{"a" 1}` are texts
as well, which a parser then refuses. The work is done by compiled patterns and linear in bytes; a byte is not looked
at again when more of the text comes.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["SHALLOW_TEXT", "TEXT_ENDS", "TEXT_FIRST", "WINDOW", "TextEnd", "skip_blanks"]

# RFC 8259, section 3: what a value can begin with.
TEXT_FIRST: Final = frozenset(b'{["-0123456789tfn')
# What ends by itself.
TEXT_ENDS: Final = frozenset(b'}]"')


# RFC 8259, section 2: what may stand between two texts.
_BLANKS: Final = re.compile(rb"[ \t\n\r]*")

# A pattern is given no more than this at once: it keeps a little memory for each step until it is done.
WINDOW: Final = 1 << 16

# A string, with what follows it up to the next string or bracket. No two patterns that are tried at one place can match
# the same, and what can match in one way only is never given back: so to fail costs about what it costs to match.
_FLAT: Final = rb"[^\"{}\[\]]++"
_STRING: Final = rb'"[^"\\]*+(?:"|\\.[^"\\]*+(?:\\.[^"\\]*+)*")[^"{}\[\]]*+'


def _brackets(depth: int) -> bytes:
    """Return the pattern of a pair of brackets with no more than *depth* brackets open at once."""
    inner = rb"|" + _brackets(depth - 1) if depth > 1 else rb""
    return rb"[\[{](?:" + _FLAT + rb"|" + _STRING + inner + rb")*[\]}]"


# An object or array that is shallow, as nearly all calls are, behind any blanks.
SHALLOW_TEXT: Final = re.compile(rb"[ \t\n\r]*+(" + _brackets(3) + rb")", re.DOTALL)
# What does not change how many brackets are open: large texts consist of such runs mostly.
_EVEN: Final = re.compile(rb"(?:" + _FLAT + rb"|" + _STRING + rb"|" + _brackets(2) + rb")*", re.DOTALL)
_OPENING: Final = re.compile(rb"[\[{]+")
_CLOSING: Final = re.compile(rb"[\]}]+")
_IN_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*', re.DOTALL)
# Numbers and the three literals end at a blank, or where a text of another kind begins.
_SCALAR: Final = re.compile(rb'[^ \t\n\r"{\[]*')

_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_OPENERS: Final = frozenset(b"{[")


def skip_blanks(data: bytes | bytearray, at: int) -> int:
    """Return the place of the first byte of *data*, from *at* on, that is no blank of JSON."""
    blanks = _BLANKS.match(data, at)
    assert blanks is not None  # it may be empty
    return blanks.end()


class TextEnd:
    """The search for the end of one JSON text, and then of the next.

    `SHALLOW_TEXT` finds most texts at once, where they are whole and short: try it first.

    Attributes:
        begun: Whether a text has begun and has not ended.
        is_scalar: Whether the text that began last is a number or a literal, or nothing that JSON knows: its end shows
            only in what follows.
    """

    __slots__ = ("_depth", "_escaped", "_in_string", "begun", "is_scalar")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Give up the text that has begun."""
        self.begun = self.is_scalar = self._in_string = self._escaped = False
        self._depth = 0

    def find(self, data: bytes | bytearray, at: int, stop: int) -> int:
        """Return where in *data* the text ends of which the next byte is at *at*; -1: not before *stop*.

        The first byte of a text must be no blank. *at* is below *stop*.
        """
        if not self.begun:
            self.begun = True
            first = data[at]
            self.is_scalar = first != _QUOTE and first not in _OPENERS
            if not self.is_scalar:
                at = self._step(data, at, at + 1)
        end = self._end_of_scalar(data, at, stop) if self.is_scalar else self._end_of_brackets(data, at, stop)
        if end >= 0:
            self.forget()
        return end

    def _end_of_scalar(self, data: bytes | bytearray, at: int, stop: int) -> int:
        scalar = _SCALAR.match(data, at, stop)
        assert scalar is not None  # it may be empty
        return scalar.end() if scalar.end() < stop else -1

    def _end_of_brackets(self, data: bytes | bytearray, at: int, stop: int) -> int:
        while at < stop:
            if self._in_string:
                at = self._end_of_string(data, at, stop)
                if at < 0:
                    break
                self._in_string = False
                if not self._depth:
                    return at
                continue
            run = _EVEN.match(data, at, min(stop, at + WINDOW))
            assert run is not None  # it may be empty
            at = run.end()
            if at < stop:
                at = self._step(data, at, stop)
                if not self._depth and not self._in_string:
                    return at
        return -1

    def _step(self, data: bytes | bytearray, at: int, stop: int) -> int:
        """Take note of the brackets, or of the beginning of a string, at *at*; return what is behind."""
        byte = data[at]
        if byte == _QUOTE:
            self._in_string = True
            return at + 1
        brackets = _OPENING.match(data, at, stop)
        if brackets is not None:
            self._depth += brackets.end() - at
            return brackets.end()
        brackets = _CLOSING.match(data, at, min(stop, at + self._depth))
        if brackets is not None:
            self._depth -= brackets.end() - at
            return brackets.end()
        return at  # neither: what is here goes on behind the window

    def _end_of_string(self, data: bytes | bytearray, at: int, stop: int) -> int:
        """Return where the string ends in which *at* is; -1: not before *stop*."""
        if self._escaped:
            self._escaped = False
            at += 1
        quote = data.find(b'"', at, stop)
        last = (quote if quote >= 0 else stop) - 1
        if last < at or data[last] != _BACKSLASH:
            return quote + 1 if quote >= 0 else -1
        # A backslash before the quote, or at the end: whether it escapes what follows depends on those before it.
        while at < stop:
            escapes = _IN_STRING.match(data, at, min(stop, at + WINDOW))
            assert escapes is not None  # it may be empty
            at = escapes.end()
            if at < stop and data[at] == _QUOTE:
                return at + 1
            if at == stop - 1 and data[at] == _BACKSLASH:
                self._escaped = True
                break
        return -1
