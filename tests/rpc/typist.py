# SPDX-License-Identifier: MIT
"""A bare server that hears lines and types given bytes, for all that real peers would not say on demand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import tieline
from tests import aio
from tieline import JSONRPCAutoDetect, JSONRPCLoose, JSONRPCv1, JSONRPCv2

V1, V2, LOOSE, AUTO = JSONRPCv1, JSONRPCv2, JSONRPCLoose, JSONRPCAutoDetect
Protocol = type[tieline.JSONRPC]


class Typist:
    """A server that hears lines and types bytes.

    Attributes:
        heard: The lines it heard.
        answers: What it types, verbatim, for each line it hears: a line beyond them is not answered.
    """

    def __init__(self, *answers: bytes) -> None:
        self.heard: list[bytes] = []
        self.answers = list(answers)
        self.hangs_up = False
        self._heard = aio.Event()
        self._conversations: list[aio.Task[None]] = []

    def accept(self, reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
        self._conversations.append(aio.create_task(self._converse(reader, writer)))

    async def _converse(self, reader: aio.StreamReader, writer: aio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.heard.append(line)
                self._heard.set()
                if self.answers:
                    writer.write(self.answers.pop(0))
                elif self.hangs_up:
                    break
        finally:
            writer.close()
            await writer.wait_closed()

    async def heard_lines(self, count: int) -> list[bytes]:
        """Wait until it has heard so many lines."""
        while len(self.heard) < count:
            self._heard.clear()
            await self._heard.wait()
        return self.heard

    async def gone(self) -> None:
        await aio.gather(*self._conversations)


@asynccontextmanager
async def typist(
    *answers: bytes, protocol: Protocol = V2, methods: tieline.Methods | None = None, hangs_up: bool = False
) -> AsyncIterator[tuple[tieline.ClientSession, Typist]]:
    """Give a session of ours and the typist that it is connected to."""
    peer = Typist(*answers)
    peer.hangs_up = hangs_up
    server = await aio.start_server(peer.accept, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        async with tieline.connect(f"tcp://127.0.0.1:{port}", methods, rpc_protocol=protocol) as session:
            yield session, peer
        await peer.gone()
    finally:
        server.close()
        await server.wait_closed()


def second_answer(protocol: Protocol) -> bytes:
    """Return the proper answer to the second call."""
    if protocol is V1:
        return b'{"result":"still here","error":null,"id":1}\n'
    return b'{"jsonrpc":"2.0","result":"still here","id":1}\n'
