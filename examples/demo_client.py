# SPDX-License-Identifier: MIT
"""The clients of the demo, each in its own process: `python demo_client.py ROLE URL`. See demo.py.

Each step prints a line of JSON: what was done, what came back, and whether that was right.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import tieline

Step = Callable[[tieline.ClientSession], Awaitable[tuple[str, str, bool]]]

WORD = "software"  # in the licence of every version of this tree

methods = tieline.Methods()
announced: asyncio.Queue[dict[str, object]] = asyncio.Queue()


@methods.method
def choose(lines: list[str]) -> int:
    """The server asks us, while it handles a call of ours."""
    return len(lines) - 1


@methods.method
def added(file: str, lines: int, words: int) -> None:
    """The server tells everybody about a file that it has read."""
    announced.put_nowait({"file": file, "lines": lines, "words": words})


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


async def refused(call: Awaitable[object]) -> tieline.RPCError:
    """Return the error by which a call is answered."""
    try:
        result = await call
    except tieline.RPCError as exc:
        return exc
    raise AssertionError(f"expected an error, got {result!r}")


# --- the steps: (what was done, what came back, whether that is right) -----------------------------------------------


async def a_call(session: tieline.ClientSession) -> tuple[str, str, bool]:
    summary = await session.call("add", "LICENSE")
    return 'call("add", "LICENSE")', f"{summary['lines']} lines, {summary['words']} words", summary["words"] > 100


async def a_named_call(session: tieline.ClientSession) -> tuple[str, str, bool]:
    hits = await session.call("search", word=WORD, limit=2)
    first = f"{hits[0]['file']}:{hits[0]['line']}: {hits[0]['text'][:40]}..."
    return f'call("search", word="{WORD}", limit=2)', first, len(hits) == 2 and WORD in hits[0]["text"].lower()


async def many_calls(session: tieline.ClientSession) -> tuple[str, str, bool]:
    count = await session.call("count", WORD)
    counts = await asyncio.gather(*(session.call("count", WORD) for _ in range(500)))
    return f'gather(500 x call("count", "{WORD}"))', f"500 x {count}", counts == [count] * 500 and count > 2


async def a_batch(session: tieline.ClientSession) -> tuple[str, str, bool]:
    async with session.batch() as batch:
        for word in ("the", "copyright", "no_such_word"):
            batch.add_request("count", [word])
        batch.add_notification("note", ["from a batch"])
        batch.add_request("no_such_method")
    *counts, error = batch.results
    good = counts[2] == 0 and counts[0] != 0 and isinstance(error, tieline.RPCError) and error.code == -32601
    return "batch of 4 requests and a notification", f"{', '.join(map(str, counts))}, {error}", good


async def notifications(session: tieline.ClientSession) -> tuple[str, str, bool]:
    sent = [f"note {number} of {id(session)}" for number in range(3)]
    for text in sent:
        await session.notify("note", text)
    notes = await session.call("notes")
    return '3 x notify("note", ...), then call("notes")', f"{len(notes)} notes, ours in order", notes[-3:] == sent


async def called_back(session: tieline.ClientSession) -> tuple[str, str, bool]:
    hit = await session.call("pick", WORD)
    return f'call("pick", "{WORD}"): the handler calls us back', f"our choice: line {hit['line']}", hit["line"] > 5


async def a_broadcast(session: tieline.ClientSession) -> tuple[str, str, bool]:
    while not announced.empty():
        announced.get_nowait()
    await session.call("add", "README.md")
    heard = await asyncio.wait_for(announced.get(), 5)
    return 'call("add", "README.md"): all clients are told', f"heard {heard}", heard["file"] == "README.md"


async def unknown_method(session: tieline.ClientSession) -> tuple[str, str, bool]:
    error = await refused(session.call("serach", WORD))
    return f'call("serach", "{WORD}")', f"RPCError: {error}", error.code == -32601


async def wrong_type(session: tieline.ClientSession) -> tuple[str, str, bool]:
    error = await refused(session.call("search", WORD, "ten"))
    return f'call("search", "{WORD}", "ten")', f"RPCError: {error}", error.code == -32602 and "limit" in error.message


async def an_error_with_data(session: tieline.ClientSession) -> tuple[str, str, bool]:
    error = await refused(session.call("add", "../secret"))
    good = error.code == 1 and error.data == {"file": "../secret"}
    return 'call("add", "../secret"): the handler raises RPCError', f"RPCError: {error}, data={error.data}", good


async def a_failure(session: tieline.ClientSession) -> tuple[str, str, bool]:
    error = await refused(session.call("line", "LICENSE", 1_000_000))
    good = error.code == -32603 and "index" not in error.message
    return 'call("line", "LICENSE", 1000000): the handler fails', f"RPCError: {error}", good


async def a_timeout(session: tieline.ClientSession) -> tuple[str, str, bool]:
    start = time.monotonic()
    try:
        await session.call("wait_for", "no_such_word", timeout=0.2)
    except TimeoutError as exc:
        seconds = time.monotonic() - start
        goes_on = await session.call("count", "no_such_word") == 0
        text = f"TimeoutError: {exc}, after {seconds:.2f} s; the session goes on"
        return 'call("wait_for", "no_such_word", timeout=0.2)', text, goes_on and 0.2 <= seconds < 2
    return 'call("wait_for", "no_such_word", timeout=0.2)', "an answer?", False


STEPS: list[tuple[str, Step]] = [
    ("a call", a_call),
    ("arguments by name", a_named_call),
    ("500 calls at once", many_calls),
    ("a batch", a_batch),
    ("notifications", notifications),
    ("called back", called_back),
    ("a broadcast", a_broadcast),
    ("unknown method", unknown_method),
    ("wrong type", wrong_type),
    ("an error with data", an_error_with_data),
    ("a failing handler", a_failure),
    ("a timeout", a_timeout),
]


# --- the roles -------------------------------------------------------------------------------------------------------


async def play(session: tieline.ClientSession) -> None:
    """Go through all steps; one that fails does not keep the next from being tried."""
    for title, step in STEPS:
        start = time.perf_counter()
        try:
            done, seen, good = await step(session)
        except Exception as exc:
            done, seen, good = step.__name__, f"{type(exc).__name__}: {exc}", False
        say(title=title, done=done, seen=seen, good=good, ms=(time.perf_counter() - start) * 1000)


async def watch(session: tieline.ClientSession) -> None:
    """Do nothing but listen, until both files have been announced."""
    say(ready=True)
    heard: list[Any] = []
    while len(set(heard)) < 2:
        heard.append((await asyncio.wait_for(announced.get(), 10))["file"])
    seen = f"heard of {sorted(set(heard))}"
    say(title="the onlooker", done="a third process, which only listens", seen=seen, good=True)


async def hang(session: tieline.ClientSession) -> None:
    """Wait for an answer that never comes, since the server is about to be killed."""
    call = session.send_request("wait_for", ["no_such_word"], timeout=None)
    await session.call("count", WORD)  # answered behind it: the call has arrived
    say(ready=True)
    try:
        await asyncio.wait_for(call, 10)
    except tieline.ConnectionLost as exc:
        now = time.monotonic()
        say(done='send_request("wait_for", ...)', seen=f"ConnectionLost: {exc}", good=True, at=now)


async def last(session: tieline.ClientSession) -> None:
    """Make the last call that the server answers: it is told to end while it works on it."""
    call = session.send_request("wait_for", ["no_such_word", 0.3], timeout=10)
    await session.call("count", WORD)  # as above
    say(ready=True)
    result = await call
    seen = f"{result}, and then the end"
    say(title="the last answer", done='send_request("wait_for", ...)', seen=seen, good=result == 0)


ROLES = {"play": play, "watch": watch, "hang": hang, "last": last}


async def main(role: str, url: str) -> None:
    async with tieline.connect(url, methods) as session:
        await ROLES[role](session)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
