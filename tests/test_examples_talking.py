# SPDX-License-Identifier: MIT
"""The examples in which several clients hear of each other: the chat, and the folder that is watched."""

import asyncio
import runpy
from pathlib import Path

import pytest

import tieline
from tests.example_programs import EXAMPLES, PATIENCE, end_of, line_of, output_of, run, started


def test_guests_of_the_chat_hear_each_other(tmp_path: Path) -> None:
    with started("chat_server.py", f"unix://{tmp_path}/chat") as server:
        url = line_of(server.stdout)
        with started("chat_client.py", "ann", url) as ann:
            assert [line_of(ann.stdout) for _ in range(2)] == ["* ann came in", "here: nobody yet"]
            heard_by_bob = output_of("chat_client.py", "bob", url, stdin="hi\nho")
            assert heard_by_bob[:2] == ["* bob came in", "here: ann"]
            assert [line_of(ann.stdout) for _ in range(4)] == ["* bob came in", "bob: hi", "bob: ho", "* bob left"]
            refused = run("chat_client.py", "ann", url)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert refused.stderr.startswith("the server says: there is a 'ann' already")
            server.terminate()
            assert end_of(server) == (0, "", "")
            # She is told at once, and has typed nothing.
            assert ann.wait(PATIENCE) == 1
            assert end_of(ann) == (1, "", "the server is gone: the peer closed the connection\n")


async def test_what_a_guest_may_say_is_bounded_and_harms_no_terminal(tmp_path: Path) -> None:
    with started("chat_server.py", f"unix://{tmp_path}/chat") as server:
        url = line_of(server.stdout)
        with started("chat_client.py", "ann", url) as ann:
            assert [line_of(ann.stdout) for _ in range(2)] == ["* ann came in", "here: nobody yet"]
            async with tieline.connect(url) as eve:
                with pytest.raises(tieline.RPCError, match="join first"):
                    await eve.call("say", "hello")
                with pytest.raises(tieline.RPCError, match="'name'"):
                    await eve.call("join", "e" * 21)
                assert await eve.call("join", "eve") == ["ann"]
                with pytest.raises(tieline.RPCError, match="before"):
                    await eve.call("join", "adam")
                with pytest.raises(tieline.RPCError, match="'text'"):
                    await eve.call("say", "!" * 1001)
                await eve.call("say", "\x1b[2Jgone\nann: me")
            assert [line_of(ann.stdout) for _ in range(3)] == ["* eve came in", "eve: ?[2Jgone?ann: me", "* eve left"]
            ann.terminate()
            ann.communicate(timeout=PATIENCE)
        server.terminate()
        assert end_of(server) == (0, "", "")


# --- a folder that is watched ----------------------------------------------------------------------------------------


def test_clients_are_told_what_changes_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"

    def put(path: Path, text: str) -> None:
        """Write a file in one step: the server looks every 10 ms, and might see it while it is empty."""
        (tmp_path / "elsewhere").write_text(text, encoding="utf-8")
        (tmp_path / "elsewhere").replace(path)

    (folder / "deep").mkdir(parents=True)
    (folder / "old.txt").write_text("old", encoding="utf-8")
    with started("watch_server.py", str(folder), f"unix://{tmp_path}/watch", "--every", "0.01") as server:
        url = line_of(server.stdout)
        with started("watch_client.py", url) as everything, started("watch_client.py", url, "*.py", "*.md") as some:
            assert line_of(everything.stdout) == f"watching 1 files at {url}"
            assert line_of(some.stdout) == f"watching 0 files at {url}"
            put(folder / "old.txt", "newer")
            assert line_of(everything.stdout) == "changed 'old.txt'"
            put(folder / "deep" / "a.py", "1")
            assert line_of(everything.stdout) == line_of(some.stdout) == "created 'deep/a.py'"
            (folder / "deep" / "a.py").rename(folder / "b.md")
            for client in (some, everything):  # it may be seen on its way, so in any order
                lines = sorted(line_of(client.stdout) for _ in range(2))
                assert lines == ["created 'b.md'", "deleted 'deep/a.py'"]
            (folder / "old.txt").unlink()
            assert line_of(everything.stdout) == "deleted 'old.txt'"
            server.terminate()
            assert end_of(server) == (0, "", "")
            for client in (everything, some):
                assert end_of(client) == (1, "", "nothing to watch: the peer closed the connection\n")


async def test_a_client_that_is_slow_is_told_later_and_what_it_comes_to(tmp_path: Path) -> None:
    """No word reaches a `Watcher` without room; what is owed is what has become of each file, not each step."""
    watching = runpy.run_path(str(EXAMPLES / "watch_server.py"), run_name="watch_server")
    told = asyncio.Queue[dict[str, str]]()
    methods = tieline.Methods()
    methods.method(name="changed")(told.put_nowait)
    served = tieline.Methods()
    served.add(watching["Folder"](tmp_path))
    room: list[bool] = []
    slow = type("Slow", (watching["Watcher"],), {"has_room": lambda _: bool(room)})
    async with (
        tieline.serve(lambda: slow(methods=served), "tcp://127.0.0.1:0") as server,
        tieline.connect(server.url, methods) as session,
    ):
        with pytest.raises(tieline.RPCError, match="at most 20 patterns"):
            await session.call("watch", *["*"] * 21)
        assert await session.call("watch", "*.txt") == 0
        (watcher,) = server.sessions
        assert isinstance(watcher, watching["Watcher"])
        for step in (
            {"gone.txt": "created", "new.txt": "created", "back.txt": "deleted", "other.py": "created"},
            {"gone.txt": "deleted", "new.txt": "changed", "back.txt": "created", "old.txt": "changed"},
            {"old.txt": "deleted"},
        ):
            watcher.tell(step)
        room.append(True)
        watcher.tell({f"{number}.txt": "created" for number in range(200)})
        first, second = await told.get(), await told.get()
        assert len(first) == 200
        both = first | second
        assert {path: both[path] for path in ("new.txt", "back.txt", "old.txt")} == {
            "new.txt": "created",
            "back.txt": "changed",
            "old.txt": "deleted",
        }
        assert len(both) == 203
