# SPDX-License-Identifier: MIT
"""`openssl s_server` and `s_client`, started and waited for until they are ready.

Both read commands from the same input that they send on: a letter at the beginning of what they read at once. So each
is typed alone, and the next thing when its effect has been seen.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.peers.carriers import Carrier, carrier

OLD = ("-cipher", "DEFAULT@SECLEVEL=0")  # without it OpenSSL 3 knows no algorithm for TLS 1.0 and 1.1


@asynccontextmanager
async def s_server(
    openssl: Path, certificate: str, *options: str, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[str, Carrier]]:
    """Give the URL of an `s_server`, and the program, which answers calls. It serves one client at a time."""
    command: list[str | Path] = [openssl, "s_server", "-accept", f"{host}:0", "-cert", certificate, *options]
    async with carrier(*command, answers=True) as server:
        port = (await server.says("ACCEPT ")).rpartition(":")[2]
        yield f"tls://{host}:{port}", server


@asynccontextmanager
async def s_client(openssl: Path, port: int, *options: str, answers: bool = False) -> AsyncIterator[Carrier]:
    """Give an `s_client` on its way to a server on this machine; see `Carrier`."""
    async with carrier(openssl, "s_client", "-connect", f"127.0.0.1:{port}", *options, answers=answers) as client:
        yield client


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield *error*, what caused it, and so on."""
    while error is not None:
        yield error
        error = error.__cause__
