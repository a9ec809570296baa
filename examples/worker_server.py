# SPDX-License-Identifier: MIT
"""One service, several processes, one port: `python worker_server.py [WORKERS] [PORT]`; SIGTERM or Ctrl+C stops it.

Shows: workers that share a port (`reuse_port`), each with its own event loop; a parent that replaces a worker that
died; a shutdown at which every worker answers its accepted requests; and workers that do not outlive their parent,
however that ended. For Linux: elsewhere SO_REUSEPORT is missing, or gives one process all connections.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys

import tieline

HOST = "127.0.0.1"
GRACE = 10.0  # seconds that running handlers get at the end
RESTART_AFTER = 1.0  # seconds between two starts in the same place: a worker that crashes at once must cost little

methods = tieline.Methods()


@methods.method
def who() -> int:
    """Tell which process serves this connection: the same one for as long as it is open."""
    return os.getpid()


@methods.method
def count_primes(limit: int) -> int:
    """Compute. One process can do this for one caller at a time; that is what the others are for."""
    sieve = bytearray([1]) * max(limit, 2)
    sieve[:2] = b"\0\0"
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, len(sieve), number)))
    return sum(sieve)


@methods.method
async def ask(session: tieline.ServerSession, question: str) -> str:
    """Ask the caller back, and return what it says."""
    answer: str = await session.call("answer", question)
    return answer


# --- a worker --------------------------------------------------------------------------------------------------------


async def work(port: int) -> None:
    """Serve until the parent closes its end of our standard input, or SIGTERM comes."""
    async with tieline.serve(methods, tieline.TCP(HOST, port, reuse_port=True)) as server:
        ending = asyncio.create_task(end_with_parent(server))
        tell(f"worker {os.getpid()} listens on {server.url}")
        await server.serve_forever(grace=GRACE)  # at SIGTERM too, so that you can renew the workers one by one
    ending.cancel()


def tell(text: str) -> None:
    """Print a line in one piece: all processes print to the same place, and their lines must not mix."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def end_with_parent(server: tieline.Server) -> None:
    """Shut down when the pipe from the parent is closed: by the parent, or by the system since the parent is dead.

    A signal alone would not do. Nobody sends one if the parent is killed; and if a whole group is signalled, as by
    systemd, a worker would get a second signal from the parent, which means: cut the remaining connections.
    """
    loop, closed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, closed.set)
    try:
        await closed.wait()
    finally:
        loop.remove_reader(sys.stdin)
    await server.shutdown(GRACE)


# --- the parent ------------------------------------------------------------------------------------------------------


def reserve(port: int) -> socket.socket:
    """Return a socket that keeps the port for the workers, also while none of them is there. It does not listen.

    Raises:
        OSError: Somebody has the port.
    """
    # Whoever reuses a port shares it with everybody of the same user who does so: a second copy of this program would
    # take half of the connections without any error. So check first, without sharing.
    socket.create_server((HOST, port)).close()
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((HOST, port))  # port 0 is chosen here, once: each worker would choose another one
    return held


class Workers:
    """The processes, and whether they are to end."""

    def __init__(self, port: int) -> None:
        self._command = (sys.executable, __file__, "--work", str(port))
        self._running: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let all workers end in order. The second time, or when they take too long: kill them."""
        if self._stopping.is_set():
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            return
        self._stopping.set()
        for process in self._running:
            _close_pipe(process)
        asyncio.get_running_loop().call_later(GRACE + 5, self.stop)

    async def keep_one(self) -> int:
        """Keep one worker running, until `stop`; return how that one ended."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            next_start = loop.time() + RESTART_AFTER
            try:
                code = await self._run_one()
            except OSError as exc:  # no memory, too many processes; the other workers serve on
                print(f"cannot start a worker: {exc}", file=sys.stderr, flush=True)
            else:
                if self._stopping.is_set():
                    return code
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_start):
                    await self._stopping.wait()
        return 0

    async def _run_one(self) -> int:
        process = await asyncio.create_subprocess_exec(*self._command, stdin=asyncio.subprocess.PIPE)
        self._running.add(process)
        if self._stopping.is_set():  # meanwhile
            _close_pipe(process)
        code = await process.wait()
        self._running.discard(process)
        if not self._stopping.is_set():
            tell(f"worker {process.pid} ended ({code}): another one takes its place")
        return code


def _close_pipe(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()


async def supervise(count: int, port: int) -> int:
    """Keep *count* workers running until SIGTERM or Ctrl+C, and return the exit code of the program."""
    workers = Workers(port)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, workers.stop)
    codes = await asyncio.gather(*(workers.keep_one() for _ in range(count)))
    return 1 if any(codes) else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches all processes at the terminal; the parent acts
        asyncio.run(work(int(sys.argv[2])))
        sys.exit()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else os.cpu_count() or 1
    try:
        held = reserve(int(sys.argv[2]) if len(sys.argv) > 2 else 4002)
    except OSError as exc:
        sys.exit(f"cannot have the port: {exc}")
    with held:
        sys.exit(asyncio.run(supervise(count, held.getsockname()[1])))
