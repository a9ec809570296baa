# SPDX-License-Identifier: MIT
"""Cases 69 and 80: who is trusted, and what is told to whom."""

import asyncio
import ssl

import tieline
from tests.attacks.attacked import AttackedServer
from tests.attacks.raw import Peer, line
from tests.attacks.table import Case, Outcome

# --- 69: our client, and a server that it cannot trust ---------------------------------------------------------------


def distrusted(tls: tieline.TLS, host: str, url: str) -> BaseException | None:
    """Return what connecting and calling raised."""

    async def connect() -> None:
        async with tieline.connect(url.replace("127.0.0.1", host), tls=tls) as session:
            await session.call("mark", "trusted")

    try:
        asyncio.run(connect())
    except Exception as exc:
        return exc
    return None


def not_trusted(peer: Peer, server: AttackedServer) -> None:
    """Nothing is sent to a server with another name or of an unknown authority, unless a context says so."""
    server.ask("marked")
    ca = server.certificates.ca
    for tls, host in (
        (tieline.TLS(ca=ca, server_hostname="wrong.example"), "127.0.0.1"),
        (tieline.TLS(ca=ca, server_hostname="127.0.0.9"), "localhost"),
        (tieline.TLS(), "127.0.0.1"),
        (tieline.TLS(), "localhost"),
    ):
        error = distrusted(tls, host, peer.url)
        assert isinstance(error, OSError), repr(error)
        assert isinstance(error, ssl.SSLCertVerificationError) or "certificate" in str(error), repr(error)
    assert server.ask("marked") == []
    for tls, host in ((tieline.TLS(ca=ca), "127.0.0.1"), (tieline.TLS(ca=ca), "localhost")):
        error = distrusted(tls, host, peer.url)
        assert error is None, repr(error)
    assert server.ask("marked") == ["trusted"] * 2


# --- 80: what the log tells ------------------------------------------------------------------------------------------

SECRET = "correct horse battery staple"
BYTES = SECRET.encode()

# What a peer can send that makes a server write to its log.
INPUTS = [
    BYTES + b"\n",
    b'{"password": "%b"\n' % BYTES,
    b'{"jsonrpc": "2.0", "%b": 1}\n' % BYTES,
    line("echo", SECRET, id=[SECRET]),
    line("echo", SECRET, id=SECRET * 100),
    line("add", SECRET, 1),
    line("add", 1, 2, SECRET),
    line("returns", "object", id=SECRET),
    line("raises", "ValueError", id=SECRET),
    line("error", "bad data", id=SECRET),
    line("echo", {SECRET: SECRET})[:-3] + b"\n",
    b"[%b]\n" % b",".join([line("add", SECRET, SECRET)[:-1]] * 1001),
    b'{"jsonrpc": "2.0", "result": "%b", "id": "%b"}\n' % (BYTES, BYTES),
    b'{"jsonrpc": "2.0", "error": {"code": 1, "message": "%b"}, "id": null}\n' % BYTES,
    line("echo", SECRET + "x" * (1 << 20)),
    BYTES * 100_000,
    b"[" * 200 + BYTES,
    b"POST / HTTP/1.1\r\nAuthorization: %b\r\n\r\n" % BYTES,
]


def secrets(peer: Peer, server: AttackedServer) -> None:
    """Break every rule with a password in hand: the log, at the level DEBUG, tells who did what and no more."""
    before = server.ask("record_count")
    for input in INPUTS:
        for ends in (Peer.close, Peer.reset, Peer.shutdown_write):
            with Peer(peer.url) as other:
                other.send(input, reads=False)
                other.read_more(0.01)
                ends(other)
    records = server.ask("records", before)
    assert records, "nothing was logged"
    assert not [record for record in records if SECRET[:7] in record]


CASES = [
    Case(69, "our client does not trust it", not_trusted, records=8, transports=("tls",)),
    Case(80, "passwords in broken messages", secrets, records=3 * len(INPUTS), outcome=Outcome.GONE),
]
