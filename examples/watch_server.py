# SPDX-License-Identifier: MIT
"""Notify clients of changes in a folder: `python watch_server.py FOLDER [URL]`; Ctrl+C or SIGTERM stops it.

Shows: subscriptions, as state of each session; a task beside the server; and slow clients, which delay nobody, and
receive what they have missed when they read again. It checks the times and sizes of files every half second (`--every
SECONDS`), with the standard library alone.
"""

import argparse
import asyncio
import os
from collections.abc import Mapping
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Any

import tieline

TOO_MANY = 1

MOST_PATTERNS = 20  # of one client
MOST_AT_ONCE = 200  # paths in one notification: each has 4096 bytes at most, and a message 1 MiB

# The sum of two changes of one file; for other pairs, it is the second. None: no change.
BOTH: dict[tuple[str, str], str | None] = {
    ("created", "changed"): "created",
    ("created", "deleted"): None,
    ("deleted", "created"): "changed",
}

# What shows that a file has changed: its time in nanoseconds, its size, and its inode, if another file takes its name.
Stamp = tuple[int, int, int]


def scan(folder: Path) -> dict[str, Stamp]:
    """Return the files in *folder* and below, by their paths from there."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            try:
                about = path.stat(follow_symlinks=False)
            except OSError:  # gone again, or not ours to see
                continue
            found[path.relative_to(folder).as_posix()] = (about.st_mtime_ns, about.st_size, about.st_ino)
    return found


def differences(before: Mapping[str, Stamp], after: Mapping[str, Stamp]) -> dict[str, str]:
    """Return what has happened to which file."""
    found = {path: "deleted" for path in before if path not in after}
    for path, stamp in after.items():
        if before.get(path) != stamp:
            found[path] = "changed" if path in before else "created"
    return found


class Watcher(tieline.ServerSession):
    """A client, the patterns that it watches, and the changes that it has not been sent yet."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patterns: tuple[str, ...] = ()
        self.owed: dict[str, str] = {}

    def wants(self, path: str) -> bool:
        return any(fnmatch(path, pattern) for pattern in self.patterns)

    def tell(self, changes: Mapping[str, str]) -> None:
        """Send *changes*, and earlier ones; if there is no room, keep them for the next time."""
        for path, what in changes.items():
            if self.wants(path):
                both = BOTH.get((self.owed.pop(path, ""), what), what)
                if both is not None:
                    self.owed[path] = both
        while self.owed and self.has_room() and not self.is_closing():
            some = dict(islice(self.owed.items(), MOST_AT_ONCE))
            self.send_notification("changed", [some])
            for path in some:
                del self.owed[path]


class Folder:
    """What is served: its public methods. (There is one.)"""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = scan(path)

    def watch(self, watcher: Watcher, *patterns: str) -> int:
        """Notify the caller of changes of matching files from now on; return how many files match now."""
        if len(patterns) > MOST_PATTERNS:
            raise tieline.RPCError(TOO_MANY, f"at most {MOST_PATTERNS} patterns")
        watcher.patterns = patterns or ("*",)
        watcher.owed.clear()
        return sum(watcher.wants(path) for path in self.files)


async def look(folder: Folder, server: tieline.Server, every: float) -> None:
    """Look for changes at intervals, and notify the clients."""
    while True:
        await asyncio.sleep(every)
        files = await asyncio.to_thread(scan, folder.path)
        changes = differences(folder.files, files)
        folder.files = files
        for session in list(server.sessions):
            if isinstance(session, Watcher):
                session.tell(changes)


async def main(path: Path, url: str, every: float) -> None:
    folder = Folder(path)
    methods = tieline.Methods()
    methods.add(folder)
    async with tieline.serve(lambda: Watcher(methods=methods), url) as server, asyncio.TaskGroup() as group:
        looking = group.create_task(look(folder, server, every))
        print(server.url, flush=True)
        await server.serve_forever()
        looking.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Tell clients what changes in a folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("url", nargs="?", default="tcp://127.0.0.1:4004")
    parser.add_argument("--every", type=float, default=0.5, metavar="SECONDS", help="how often to look")
    args = parser.parse_args()
    if not args.folder.is_dir():
        parser.error(f"{args.folder} is no folder")
    try:
        asyncio.run(main(args.folder, args.url, args.every))
    except KeyboardInterrupt:
        print("stopped")
