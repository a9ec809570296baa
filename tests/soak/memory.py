# SPDX-License-Identifier: MIT
"""What a process holds in memory, told apart: what is in use, and what its allocators keep for later.

Resident memory grows when something leaks, and when what is in use lies scattered over more pages than it fills. Only
the first goes on for ever. Counted are the objects that the garbage collector knows, the bytes that Python's own
allocator has given out, and those that malloc has (OpenSSL, zlib, objects of more than 512 bytes).
"""

import ctypes
import gc
import os
import re
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["Grown", "memory"]

KIBI = 1024
TOLD, FRAMES = 20, 6  # places that are told, and frames of each


# In the order of mallinfo(3).
_FIELDS = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _MallInfo(ctypes.Structure):
    """What glibc's mallinfo2 returns."""

    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]


def _mallinfo() -> Callable[[], _MallInfo] | None:
    with suppress(OSError, AttributeError):
        found = ctypes.CDLL(None).mallinfo2
        found.restype = _MallInfo
        ask: Callable[[], _MallInfo] = found
        return ask
    return None  # musl, macOS, glibc before 2.33


_ask_malloc = _mallinfo()


def _small_objects() -> tuple[int, int]:
    """Return how many bytes Python's own allocator has given out, and how many it holds for that.

    The only one who tells is a function of CPython that writes to the file descriptor of stderr.
    """
    with tempfile.TemporaryFile() as told:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(told.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        told.seek(0)
        text = told.read().decode()

    def figure(label: str) -> int:
        found = re.search(rf"^{label} *= *([0-9,]+)$", text, re.MULTILINE)
        return int(found[1].replace(",", "")) if found else 0

    return figure("# bytes in allocated blocks"), figure(r"[0-9]+ arenas \* [0-9]+ bytes/arena")


def _resident() -> dict[str, int]:
    """Return how much of the process is resident: pages of its own, and pages of files (code, mostly)."""
    text = Path("/proc/self/status").read_text()
    found = dict(re.findall(r"^(RssAnon|RssFile):\s+(\d+) kB$", text, re.MULTILINE))
    return {"anonymous": int(found["RssAnon"]) * KIBI, "files": int(found["RssFile"]) * KIBI}


def memory() -> dict[str, int]:
    """Return what the process holds, in bytes. Garbage is not looked for.

    ``in_use`` is what has been given out, ``small`` by Python's own allocator and ``large`` by malloc; ``arenas`` and
    ``heap`` are what these two hold; ``anonymous`` and ``files`` are what is resident; ``objects`` is a number.
    """
    small, arenas = _small_objects()
    info = _ask_malloc() if _ask_malloc is not None else _MallInfo()
    large, heap = info.uordblks + info.hblkhd, info.arena + info.hblkhd
    return {
        "in_use": small + large,
        "small": small,
        "large": large,
        "arenas": arenas,
        "heap": heap,
        "objects": len(gc.get_objects()),
        **_resident(),
    }


class Grown:
    """Tells what has grown since it was last asked: of which type, or where it was made."""

    def __init__(self) -> None:
        self._before: tracemalloc.Snapshot | None = None
        self._types: Counter[str] = Counter()

    def since_last(self) -> dict[str, int]:
        """Return how many objects more than before there are of each type that has more.

        In a process that runs tracemalloc: how many bytes more are held by each place in the code. The first time this
        is nothing.
        """
        gc.collect()
        return self._places() if tracemalloc.is_tracing() else self._kinds()

    def _kinds(self) -> dict[str, int]:
        now = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
        before, self._types = self._types, now
        return dict((now - before).most_common()) if before else {}

    def _places(self) -> dict[str, int]:
        hidden = [tracemalloc.Filter(False, tracemalloc.__file__), tracemalloc.Filter(False, __file__)]
        now = tracemalloc.take_snapshot().filter_traces(hidden)
        before, self._before = self._before, now
        if before is None:
            return {}
        grown = sorted(now.compare_to(before, "traceback"), key=lambda one: -one.size_diff)[:TOLD]
        return {
            " < ".join(f"{frame.filename}:{frame.lineno}" for frame in list(one.traceback)[: -FRAMES - 1 : -1]): (
                one.size_diff
            )
            for one in grown
            if one.size_diff > 0
        }
