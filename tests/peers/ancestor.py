# SPDX-License-Identifier: MIT
"""Sessions of aiorpcX, both roles, with the same methods as ours in `our_methods`.

Started as a program it serves on a free port, which it prints.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiorpcx

PROTOCOLS = {name: getattr(aiorpcx, name) for name in ("JSONRPCv1", "JSONRPCv2", "JSONRPCLoose", "JSONRPCAutoDetect")}


class TheirSession(aiorpcx.RPCSession):  # type: ignore[misc]  # aiorpcX has no types
    """A session of theirs, client or server."""

    def __init__(self, transport: Any, protocol: Any, **settings: Any) -> None:
        for name, value in settings.items():  # before it reads them
            setattr(self, name, value)
        super().__init__(transport, connection=aiorpcx.JSONRPCConnection(protocol))
        self.noted: list[Any] = []
        self.requested = asyncio.Event()

    async def handle_request(self, request: Any) -> Any:
        self.requested.set()
        handler = getattr(self, f"do_{request.method}", None)
        return await aiorpcx.handler_invocation(handler, request)()

    async def do_add(self, a: int, b: int) -> int:
        return a + b

    async def do_echo(self, value: Any) -> Any:
        return value

    async def do_size(self, text: str) -> int:
        return len(text)

    async def do_fail(self, code: int, message: str) -> None:
        raise aiorpcx.RPCError(code, message)

    async def do_note(self, value: Any) -> None:
        self.noted.append(value)

    async def do_notes(self) -> list[Any]:
        return self.noted

    async def do_ask_back(self, number: int) -> Any:
        """Call the caller back, and tell it something, before answering."""
        await self.send_notification("note", [f"asking about {number}"])
        return await self.send_request("double", [number])

    async def do_double(self, number: int) -> int:
        return 2 * number

    async def do_fail_back(self) -> str:
        """Call what fails at the caller."""
        try:
            await self.send_request("fail", [-7, "from the caller"])
        except aiorpcx.RPCError as exc:
            return f"{exc.code} {exc.message}"
        return "no error"

    async def do_hang(self) -> None:
        await asyncio.Event().wait()


class TheirServer:
    """A server of theirs.

    Attributes:
        port: Where it listens.
        sessions: The sessions that it made, oldest first.
    """

    def __init__(self, protocol: Any, settings: dict[str, Any]) -> None:
        self.port = 0
        self.sessions: list[TheirSession] = []
        self._protocol = protocol
        self._settings = settings

    def new_session(self, transport: Any) -> TheirSession:
        session = TheirSession(transport, self._protocol, **self._settings)
        self.sessions.append(session)
        return session


@asynccontextmanager
async def their_server(protocol: Any, framer: Any = None, **settings: Any) -> AsyncIterator[TheirServer]:
    """Serve with aiorpcX; *settings* become attributes of its sessions."""
    serving = TheirServer(protocol, settings)
    server = await aiorpcx.serve_rs(serving.new_session, "127.0.0.1", 0, framer=framer)
    try:
        serving.port = server.sockets[0].getsockname()[1]
        yield serving
    finally:
        server.close()
        for session in serving.sessions:
            await session.close()
        await server.wait_closed()


def their_client(url: str, protocol: Any, **settings: Any) -> Any:
    """Return a client of theirs for a URL of ours: an async context manager."""
    host, port = url.removeprefix("tcp://").split(":")
    return aiorpcx.connect_rs(host, int(port), session_factory=partial(TheirSession, protocol=protocol, **settings))


async def main(protocol: str) -> None:
    async with their_server(PROTOCOLS[protocol], initial_concurrent=1000) as serving:
        print(serving.port)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
