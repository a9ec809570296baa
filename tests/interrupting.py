# SPDX-License-Identifier: MIT
"""What happens in the middle of things, at a place that is no matter of luck: interrupts, and what others do meanwhile.

The library's own code is stopped line by line; and what happens while a thread is in its one plain read is done by the
socket itself, in that thread, at that very moment.
"""

from __future__ import annotations

import _thread
import dis
import gc
import itertools
import linecache
import os
import signal
import sys
from itertools import repeat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["InItsRead", "Stop", "interrupted_at", "interrupted_behind"]


# How lines begin in which no signal is looked for.
NEVER = ("with ", "try:", "lock.", "if waiter in line:", "line.remove(")


class Stop(BaseException):
    """As a KeyboardInterrupt, raised at one place after another."""


def interrupted_at(work: Callable[[], object], place: int) -> bool:
    """Do *work*, and raise `Stop` in the code of the library at the place of that number; return whether there was one.

    Not where a `with` or `try` begins or ends, or a lock is taken or let go: signals are looked for behind calls, and
    never come in there. So it is where somebody leaves a line, right behind a wait. Nor where garbage of others is
    collected, which would be none of the work.
    """
    count = itertools.count()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if f"{os.sep}tieline{os.sep}" not in frame.f_code.co_filename:
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == "line" and not line.startswith(NEVER) and next(count) == place:
            sys.settrace(None)
            raise Stop
        return trace

    gc.disable()
    sys.settrace(trace)
    try:
        work()
    except Stop:
        return True
    finally:
        sys.settrace(None)
        gc.enable()
    return False


# The instructions behind which CPython looks for signals: calls of what is written in C, the beginnings of functions in
# Python, and where a loop goes back.
LOOKING = ("CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD", "RESUME")
LOOKING_CODES = {dis.opmap[name] for name in LOOKING if name in dis.opmap}


def interrupted_behind(work: Callable[[], object], place: int) -> bool:
    """As `interrupted_at`, but by a signal, which comes while the instruction of that number runs.

    It counts those behind which signals are looked for. So it is at each place where a real one can come, and nowhere
    else: nothing may be lost by it. What comes in a `__del__` CPython tells to `sys.unraisablehook` alone. To be called
    in the main thread.
    """
    count = itertools.count()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if event == "call":
            if f"{os.sep}tieline{os.sep}" not in frame.f_code.co_filename:
                return None
            frame.f_trace = trace  # which 3.13 wants to be there before
            frame.f_trace_opcodes = True
        elif event == "opcode" and frame.f_code.co_code[frame.f_lasti] in LOOKING_CODES and next(count) == place:
            sys.settrace(None)
            for _ in map(_thread.interrupt_main, [signal.SIGINT]):  # a call would have it seen here
                break
        return trace

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Stop

    sys._getframe().f_trace_opcodes = True  # 3.12 traces none before this was asked for once
    gc.disable()
    before = signal.signal(signal.SIGINT, stop)
    try:
        sys.settrace(trace)
        work()
    except Stop:
        pass
    finally:
        sys.settrace(None)
        signal.signal(signal.SIGINT, before)
        gc.enable()
    return next(count) > place


class InItsRead:
    """A scene of a thread that reads plainly, and of what happens meanwhile.

    Attributes:
        meanwhile: Called once in the next plain read, before it reads.
        reads: How many plain reads there were.
    """

    def __init__(self) -> None:
        self.meanwhile: Callable[[], object] | None = None
        self.reads = 0

    def watch(self, transport: Any, sock: Any) -> None:
        """Have the plain reads of *transport*, which are those of *sock*, done here."""
        transport.reads = map(self._read, repeat(sock))

    def _read(self, sock: Any) -> Any:
        self.reads += 1
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return sock.recv(65536)
