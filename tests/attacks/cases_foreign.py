# SPDX-License-Identifier: MIT
"""Cases 17 and 18: other protocols at a port for lines of JSON."""

import ssl

from tests.attacks.attacked import AttackedServer
from tests.attacks.raw import Peer, careless_context, line
from tests.attacks.table import Case, Outcome, check_drop


def client_hello() -> bytes:
    """Return the record with which a TLS client begins."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = careless_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        hello.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake with nobody")


HTTP = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
BODY = line("mark", "by HTTP") + line("mark", "by HTTP", id=None)


def foreign(number: int, name: str, input: bytes) -> Case:
    def play(peer: Peer, server: AttackedServer) -> None:
        server.ask("marked")
        peer.send(input)
        check_drop(peer)
        assert server.ask("marked") == []

    return Case(number, name, play, outcome=Outcome.DROP)


def cut_up(peer: Peer, server: AttackedServer) -> None:
    """Send the HTTP request in pieces: not even its first byte may be mistaken."""
    server.ask("marked")
    request = HTTP % (len(BODY), BODY)
    for start in range(0, len(request), 7):
        if not peer.send(request[start : start + 7]):
            break
        peer.pause(0.001)
    check_drop(peer)
    assert server.ask("marked") == []


CASES = [
    foreign(17, "a TLS ClientHello at a JSON port", client_hello()),
    foreign(17, "the first byte of a TLS record", b"\x16"),
    foreign(18, "HTTP POST with a call as its body", HTTP % (len(BODY), BODY)),
    foreign(18, "HTTP with bare LF", (HTTP % (len(BODY), BODY)).replace(b"\r\n", b"\n")),
    foreign(18, "OPTIONS, then POST", b"OPTIONS / HTTP/1.1\r\n\r\n" + HTTP % (len(BODY), BODY)),
    foreign(18, "PATCH in lower case", (HTTP % (len(BODY), BODY)).replace(b"POST", b"patch")),
    foreign(18, "M-SEARCH", (HTTP % (len(BODY), BODY)).replace(b"POST", b"M-SEARCH")),
    Case(18, "HTTP in pieces of 7 bytes", cut_up, outcome=Outcome.DROP),
]
