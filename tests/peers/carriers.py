# SPDX-License-Identifier: MIT
"""Programs that carry bytes in TLS and play no part themselves (openssl, ncat): what they say, and what they carry.

Messages go through their standard input and output, between lines of their own. They are written and read here
without the library, so that nothing of ours judges itself.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests import aio
from tests.peers.programs import PATIENCE, Program, running


class Carrier:
    """A running program of this kind, and a JSON-RPC peer on its standard input and output.

    Args:
        program: The program, running.
        answers: Whether to answer calls; otherwise they wait in `received`.
    """

    def __init__(self, program: Program, *, answers: bool = False) -> None:
        self.said: list[str] = []  # its own lines
        self.received: list[Any] = []  # the messages that came out
        self.program = program
        self._answers = answers
        self._has_ended = False
        self._asked_by: Any = None
        self._calls = 0
        self._changed = aio.Condition()

    async def listen(self) -> None:
        """Sort what comes out, until it ends."""
        try:
            while True:
                self._sort(await self.program.line())
                async with self._changed:
                    self._changed.notify_all()
        except (EOFError, TimeoutError):
            self._has_ended = True
            async with self._changed:
                self._changed.notify_all()

    async def says(self, *texts: str) -> str:
        """Return the first line of its own with all *texts* in it."""
        await self._until(lambda: self._lines(texts), " ".join(texts))
        return self._lines(texts)[0]

    async def carried(self, count: int) -> list[Any]:
        """Wait until so many messages have come out, and return them."""
        await self._until(lambda: len(self.received) >= count, f"{count} messages")
        return self.received

    async def call(self, method: str, *params: object) -> Any:
        """Call our side and return its answer, as it came."""
        self._calls += 1
        number = self._calls
        self.send({"jsonrpc": "2.0", "method": method, "params": params, "id": number})

        def answers() -> list[Any]:
            return [message for message in self.received if "method" not in message and message["id"] == number]

        await self._until(answers, f"an answer to {method}")
        (answer,) = answers()
        return answer

    def send(self, message: object) -> None:
        """Have a message carried."""
        self.program.type(json.dumps(message).encode() + b"\n")

    def _lines(self, texts: tuple[str, ...]) -> list[str]:
        return [line for line in self.said if all(text in line for text in texts)]

    async def _until(self, condition: Callable[[], object], what: str) -> None:
        try:
            async with aio.timeout(PATIENCE), self._changed:
                await self._changed.wait_for(lambda: condition() or self._has_ended)
        except TimeoutError:
            pass
        assert condition(), "\n".join([f"it never came to: {what}; it said:", *self.said])

    def _sort(self, line: str) -> None:
        if not line.startswith("{"):
            self.said.append(line)
            return
        message = json.loads(line)
        self.received.append(message)
        if self._answers:
            self._answer(message)

    def _answer(self, message: Any) -> None:
        reply = {"jsonrpc": "2.0", "id": message.get("id")}
        match message.get("method"):
            case None:
                if self._asked_by is not None:
                    self.send(reply | {"result": message["result"], "id": self._asked_by})
            case "ask":
                self._asked_by = message["id"]
                self.send({"jsonrpc": "2.0", "method": "double", "params": [21], "id": "back"})
            case "double":
                self.send(reply | {"result": 2 * message["params"][0]})
            case "fail":
                self.send(reply | {"error": {"code": -5, "message": "no"}})
            case "hang":
                pass
            case _ if "id" in message:
                self.send(reply | {"result": message["params"]})


@asynccontextmanager
async def carrier(*command: str | Path, answers: bool = False) -> AsyncIterator[Carrier]:
    """Start such a program; kill it and wait for it at the end, whatever happens."""
    async with running(*command, errors_too=True) as program:
        it = Carrier(program, answers=answers)
        listening = aio.create_task(it.listen())
        try:
            yield it
        finally:
            program.kill()
            await listening
