# SPDX-License-Identifier: MIT
"""The server that the tests attack: `python -m tests.attacks.server_process --folder F --loop uvloop`.

It listens on TCP, TLS, a Unix socket and for WebSockets, in TLS too, for each of `KINDS`, with `--packets` for packets
as well; it prints the URLs as one JSON line, and ends when its standard input does. It tells about itself by the method
`figures`. What it would log it keeps, for `records`.
"""

import argparse
import ctypes
import gc
import json
import logging
import os
import resource
import sys
import time
from collections import deque
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import tieline
from tests import aio
from tests.attacks.framings import FRAMERS
from tests.attacks.victims import methods


def limited(**limits: Any) -> tieline.Limits:
    """Return limits without that of cost: all attackers have one address, and would be cut for what others did."""
    return tieline.Limits(governance=tieline.Governance(cost_hard_limit=0), **limits)


KINDS: dict[str, dict[str, Any]] = {
    "v2": {},
    "v1": {"rpc_protocol": tieline.JSONRPCv1},
    "loose": {"rpc_protocol": tieline.JSONRPCLoose},
    "auto": {"rpc_protocol": tieline.JSONRPCAutoDetect},
    "strict": {"codec": tieline.StrictCodec()},
    "decimal": {"codec": tieline.DecimalCodec()},
    "stdlib": {"codec": tieline.StdlibCodec()},
    "governed": {"limits": tieline.Limits()},
    "big": {"limits": limited(max_message=8 << 20)},
    "narrow": {"limits": limited(max_pending=4, max_calls=4)},
    "hasty": {"limits": limited(write_timeout=0.5, linger=0.3, tls_shutdown_timeout=0.3)},
    "brief": {
        "limits": limited(
            message_timeout=0.3,
            idle_timeout=0.4,
            handshake_timeout=0.4,
            max_handshakes=20,
            linger=0.2,
            tls_shutdown_timeout=0.2,
        )
    },
    "impatient": {"limits": limited(handler_timeout=0.3)},
    "few": {"limits": limited(max_connections=8)},
    "fair": {"limits": limited(max_connections_per_peer=4)},
    **{kind: {"framer": framer} for kind, framer in FRAMERS.items()},
}
for settings_of_kind in KINDS.values():
    settings_of_kind.setdefault("limits", limited())
TCP = tieline.TCP("127.0.0.1", 0)
WEBSOCKET = tieline.WebSocket(TCP, "/rpc", compression=True)
PAGE = os.sysconf("SC_PAGE_SIZE")
LIBC: ctypes.CDLL | None = None
with suppress(OSError):
    LIBC = ctypes.CDLL(None)  # once: each one leaves 200 bytes


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
        self.packets: Any = None  # the servers of packets, where there are any
        self.records = Records()

    def close(self) -> None:
        """Let `Server.serve_forever` return."""
        for server in self.servers:
            server.close()

    def figures(self) -> dict[str, float]:
        """Return what the process holds right now. The peak is that since the last `settle`."""
        peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
        return {
            "rss": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE,
            "peak": int(peak) * 1024,
            "fds": len(os.listdir("/proc/self/fd")) - 1,
            "tasks": len(aio.all_tasks()),
            "timers": len(aio.live_timers() or ()),  # uvloop and trio show none
            "cpu": time.process_time(),
            "sessions": sum(len(server.sessions) for server in self.servers)
            + (0 if self.packets is None else self.packets.sessions),
            "running": sum(session.stats.running for server in self.servers for session in server.sessions),
            "pending": sum(session.stats.pending for server in self.servers for session in server.sessions),
            "records": self.records.count,
            "tracebacks": self.records.tracebacks,
        }

    def records_since(self, count: int | None = None) -> list[str]:
        """Return what was logged after so many records; None = all that is kept. Of what is not, an error tells."""
        kept = list(self.records.last)
        if count is None:
            return kept
        newer = self.records.count - count
        if newer > len(kept):
            raise tieline.RPCError(1, f"{newer} records are asked for, and {len(kept)} are kept")
        return kept[len(kept) - newer :]

    def trimmed(self) -> dict[str, float]:
        """Give freed memory back to the system and return the figures."""
        gc.collect()
        if LIBC is not None and hasattr(LIBC, "malloc_trim"):
            LIBC.malloc_trim(0)
        return self.figures()

    def settle(self) -> dict[str, float]:
        """Do the same, and begin a new peak: not within an attack, whose peak is wanted."""
        self.trimmed()
        Path("/proc/self/clear_refs").write_text("5")
        return self.figures()


def leave_files(count: int) -> None:
    """Allow the process to open so many files more, and not one over that."""
    limit = len(os.listdir("/proc/self/fd")) - 1 + count
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


async def main(folder: Path, port: int, certificate: Path, files: int, *, has_packets: bool) -> None:
    watched = Watched()
    logging.getLogger().addHandler(watched.records)
    logging.getLogger().setLevel(logging.DEBUG)  # case 80: no level shows what peers sent
    methods.method(watched.figures)
    methods.method(watched.trimmed)
    methods.method(watched.settle)
    methods.method(name="records")(watched.records_since)
    # These two open no file, so they answer when no more can be opened.
    methods.method(name="record_count")(lambda: watched.records.count)
    methods.method(name="cpu")(lambda: time.process_time())  # noqa: PLW0108  # a builtin has no signature
    async with AsyncExitStack() as stack:
        urls: dict[str, dict[str, str]] = {}
        tls = tieline.TLS(certificate=certificate)
        for kind, settings in KINDS.items():
            kind_port = port if kind == "v2" else 0
            made = {
                "tcp": tieline.serve(methods, f"tcp://127.0.0.1:{kind_port}", **settings),
                "unix": tieline.serve(methods, f"unix://{folder / kind}", **settings),
                "tls": tieline.serve(methods, "tls://127.0.0.1:0", tls=tls, **settings),
            }
            if kind not in FRAMERS:  # a WebSocket has a framing of its own
                made["ws"] = tieline.serve(methods, WEBSOCKET, **settings)
                secured = tieline.WebSocket(replace(TCP, tls=tls), "/rpc", compression=True)
                made["wss"] = tieline.serve(methods, secured, **settings)
            for server in made.values():
                await stack.enter_async_context(server)
            watched.servers += made.values()
            urls[kind] = {transport: server.url for transport, server in made.items()}
        if has_packets:
            from tests.attacks.packet_servers import PacketServers  # here: it takes a while to import

            watched.packets = PacketServers()
            urls |= await watched.packets.start(stack, folder, tls)
        gc.freeze()  # `settle` collects what came later
        print(json.dumps(urls), flush=True)
        if files:
            leave_files(files)
        async with aio.when_readable(sys.stdin.fileno(), watched.close):
            await aio.gather(*(server.serve_forever(grace=5) for server in watched.servers))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the Unix sockets go")
    parser.add_argument("--port", type=int, default=0, help="the TCP port of the plain server")
    parser.add_argument("--certificate", type=Path, required=True, help="a PEM file with the key in it")
    parser.add_argument("--files", type=int, default=0, help="how many files it may open when it listens; 0 = as usual")
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "trio"), default="asyncio")
    parser.add_argument("--packets", action="store_true", help="serve packets as well")
    options = parser.parse_args()
    run = partial(main, options.folder, options.port, options.certificate, options.files, has_packets=options.packets)
    aio.run(run, loop=options.loop)
