# SPDX-License-Identifier: MIT
"""Case 80: at the level DEBUG the log says who did what, and never what was sent."""

import pytest

from tests.attacks.attacked import AttackedServer
from tests.attacks.raw import Peer, line

SECRET = "correct horse battery staple"
BYTES = SECRET.encode()

# What a peer can send that makes a server write to its log, or answer with an error.
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
]


@pytest.mark.row("H80")
def test_the_log_tells_nothing_of_what_was_sent(server: AttackedServer, transport: str) -> None:
    for input in INPUTS:
        for ends in (Peer.close, Peer.reset, Peer.shutdown_write):
            with server.peer("strict" if b"object" in input else "v2", transport) as peer:
                peer.send(input, reads=False)
                peer.read_more(0.01)
                ends(peer)
    records = server.ask("records")
    assert records, "nothing was logged"
    assert not [record for record in records if SECRET[:7] in record]
