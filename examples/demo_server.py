# SPDX-License-Identifier: MIT
"""The server of the demo: a search service over the text files of a folder, on a TCP and a Unix socket at once.

`python demo_server.py FOLDER SOCKET` prints one URL per line and serves until SIGTERM. See demo.py.
"""

import asyncio
import re
import signal
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import tieline

NO_SUCH_FILE = 1

WORD = re.compile(r"[a-z][a-z0-9_]+")


@dataclass(frozen=True)
class Hit:
    """A line that holds a word. Sent as it is: a dataclass goes out as an object."""

    file: str
    line: int
    text: str


class Index:
    """Which words stand where. Its public methods are what peers may call."""

    def __init__(self, folder: Path, announce: Callable[..., Awaitable[None]]) -> None:
        self._folder = folder.resolve()
        self._announce = announce
        self._lines: dict[str, list[str]] = {}
        self._hits: dict[str, list[Hit]] = defaultdict(list)
        self._notes: list[str] = []
        self._changed = asyncio.Condition()

    async def add(self, file: str) -> dict[str, object]:
        """Read a file of the folder, index its words, and tell all who are connected."""
        path = (self._folder / file).resolve()
        if not (path.is_relative_to(self._folder) and path.is_file()):  # peers choose names: they stay in the folder
            raise tieline.RPCError(NO_SUCH_FILE, "no such file", data={"file": file})
        if file in self._lines:
            self._hits = defaultdict(
                list, {word: [hit for hit in hits if hit.file != file] for word, hits in self._hits.items()}
            )
        lines = self._lines[file] = (await asyncio.to_thread(path.read_text, "utf-8")).splitlines()
        for number, text in enumerate(lines, 1):
            for word in set(WORD.findall(text.lower())):
                self._hits[word].append(Hit(file, number, text.strip()))
        summary = {"file": file, "lines": len(lines), "words": sum(len(WORD.findall(line.lower())) for line in lines)}
        async with self._changed:
            self._changed.notify_all()
        await self._announce("added", **summary)
        return summary

    def search(self, word: str, limit: int = 10) -> list[Hit]:
        """Return the first lines that hold the word. A plain function: answered in the same turn of the loop."""
        return self._hits.get(word.lower(), [])[:limit]

    def count(self, word: str) -> int:
        return len(self._hits.get(word.lower(), []))

    def line(self, file: str, number: int) -> str:
        """Return a line of a file. A file or a line that is not there makes it fail: see what the caller is told."""
        return self._lines[file][number - 1]

    async def pick(self, session: tieline.ServerSession, word: str) -> Hit:
        """Let the caller choose among the lines: while it waits for us, we call it back on the same connection."""
        hits = self.search(word)
        chosen: int = await session.call("choose", [hit.text for hit in hits], timeout=5)
        return hits[chosen]

    def note(self, text: str) -> None:
        """Take a note. Meant as a notification: who sends it waits for no reply."""
        self._notes.append(text)

    def notes(self) -> list[str]:
        return self._notes

    async def wait_for(self, word: str, patience: float | None = None) -> int:
        """Wait until some file holds the word, at most *patience* seconds, and return how often it does."""
        try:
            async with asyncio.timeout(patience), self._changed:
                await self._changed.wait_for(lambda: self.count(word))
        except TimeoutError:
            pass
        return self.count(word)


async def main(folder: Path, socket: Path) -> None:
    servers: list[tieline.Server] = []

    async def announce(method: str, /, **kwargs: object) -> None:
        for server in servers:
            await server.broadcast(method, **kwargs)

    methods = tieline.Methods()
    methods.add(Index(folder, announce))
    async with AsyncExitStack() as stack:
        for endpoint in (tieline.TCP("127.0.0.1", 0), tieline.UnixStream(socket)):
            servers.append(await stack.enter_async_context(tieline.serve(methods, endpoint)))  # noqa: PERF401  # each may fail, and those before it stay entered
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        for server in servers:
            print(server.url, flush=True)
        await stopped.wait()
    # Left the `with`: running handlers have been answered, connections and sockets are closed, the file is removed.


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
