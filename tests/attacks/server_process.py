# SPDX-License-Identifier: MIT
"""The server that the tests attack: `python -m tests.attacks.server_process --folder F --loop uvloop`.

It listens on TCP and on a Unix socket for each of `KINDS`, prints the URLs as one JSON line, and ends when its standard
input does. It tells about itself by the method `figures`. What it would log it keeps, for the method `records`.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import logging
import os
import sys
import time
from collections import deque
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import tieline
from tests.attacks.victims import methods

KINDS: dict[str, dict[str, Any]] = {
    "v2": {},
    "v1": {"rpc_protocol": tieline.JSONRPCv1},
    "loose": {"rpc_protocol": tieline.JSONRPCLoose},
    "auto": {"rpc_protocol": tieline.JSONRPCAutoDetect},
    "strict": {"codec": tieline.StrictCodec()},
    "decimal": {"codec": tieline.DecimalCodec()},
    "stdlib": {"codec": tieline.StdlibCodec()},
    "big": {"limits": tieline.Limits(max_message=8 << 20)},
    "narrow": {"limits": tieline.Limits(max_pending=4, max_calls=4)},
    "hasty": {"limits": tieline.Limits(write_timeout=0.5, linger=0.3)},
}
PAGE = os.sysconf("SC_PAGE_SIZE")


class Records(logging.Handler):
    """Counts log records, and keeps the last of them as text."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.tracebacks = 0
        self.last: deque[str] = deque(maxlen=300)

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
        self.tracebacks += bool(record.exc_info)
        error = record.exc_info[1] if record.exc_info else None
        self.last.append(
            f"{record.name} {record.levelname}: {record.getMessage()}" + (f" [{error!r}]" if error else "")
        )


class Watched:
    """The servers of this process, and what they cost."""

    def __init__(self) -> None:
        self.servers: list[tieline.Server] = []
        self.records = Records()

    def figures(self) -> dict[str, float]:
        """Return what the process holds right now. The peak is that since the last `settle`."""
        loop = asyncio.get_running_loop()
        timers = getattr(loop, "_scheduled", ())  # uvloop shows none
        peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
        return {
            "rss": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE,
            "peak": int(peak) * 1024,
            "fds": len(os.listdir("/proc/self/fd")) - 1,
            "tasks": len(asyncio.all_tasks()),
            "timers": sum(not timer.cancelled() for timer in timers),
            "cpu": time.process_time(),
            "sessions": sum(len(server.sessions) for server in self.servers),
            "running": sum(session.stats.running for server in self.servers for session in server.sessions),
            "pending": sum(session.stats.pending for server in self.servers for session in server.sessions),
            "records": self.records.count,
            "tracebacks": self.records.tracebacks,
        }

    def settle(self) -> dict[str, float]:
        """Give freed memory back to the system, begin a new peak and return the figures."""
        gc.collect()
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        return self.figures()


async def main(folder: Path, port: int) -> None:
    watched = Watched()
    logging.getLogger().addHandler(watched.records)
    methods.method(watched.figures)
    methods.method(watched.settle)
    methods.method(name="records")(lambda: list(watched.records.last))
    done = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), done.set)
    async with AsyncExitStack() as stack:
        urls = {}
        for kind, settings in KINDS.items():
            tcp = f"tcp://127.0.0.1:{port if kind == 'v2' else 0}"
            pair = [tieline.serve(methods, url, **settings) for url in (tcp, f"unix://{folder / kind}")]
            for server in pair:
                await stack.enter_async_context(server)
            watched.servers += pair
            urls[kind] = {"tcp": pair[0].url, "unix": pair[1].url}
        gc.freeze()  # `settle` collects what came later
        print(json.dumps(urls), flush=True)
        await done.wait()
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the Unix sockets go")
    parser.add_argument("--port", type=int, default=0, help="the TCP port of the plain server")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    options = parser.parse_args()
    factory: Any = asyncio.new_event_loop
    if options.loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(options.folder, options.port))
