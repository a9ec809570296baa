# SPDX-License-Identifier: MIT
"""Blocking sessions over Unix sockets and TLS, and TLS that starts later."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from tests.certificates import Certificates
from tests.rpc.blocking.peers import METHODS, Task, entries, no_entries, raw_pair
from tieline import (
    TLS,
    ClosedError,
    ConnectionLost,
    Limits,
    LocalProtocolError,
    Methods,
    RemoteProtocolError,
    ReplyAndStartTLS,
)
from tieline.blocking import ClientSession, ServerSession, connect, serve
from tieline.errors import TLSTruncated


@pytest.mark.row("D4")
@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Unix sockets")
def test_a_unix_socket_carries_calls(tmp_path: Path) -> None:
    with serve(METHODS, f"unix://{tmp_path}/s") as server, connect(server.url) as session:
        assert session.call("add", 1, 2) == 3
        assert session.remote_address() == f"{tmp_path}/s"
        assert no_entries(session), entries(session)


@pytest.mark.row("D6", "S3", "S12")
def test_calls_over_tls_both_ways_and_from_many_threads(certificates: Certificates) -> None:
    ours = Methods()
    ours.method(name="echo")(lambda value: value)
    inside = TLS(certificate=certificates.server, ca=certificates.ca)
    outside = TLS(certificate=certificates.client, ca=certificates.ca)
    with serve(METHODS, "tls://127.0.0.1:0", tls=inside) as server:
        with connect(server.url, ours, tls=outside) as session:
            assert session.call("ask_back", "echo", ["back"]) == "back"
            large = "x" * 900_000
            tasks = [Task(session.call, "echo", large if number % 2 else number) for number in range(8)]
            assert [task.result() for task in tasks] == [large if number % 2 else number for number in range(8)]
            shown = session.peer_certificate()
            assert shown is not None
            assert ("DNS", "localhost") in shown["subjectAltName"]
            (peer,) = server.sessions
            shown = peer.peer_certificate()
            assert shown is not None
            assert ("email", "ann@client.example") in shown["subjectAltName"]
        assert session.close_reason is None
        peer.wait_closed()
        assert not isinstance(peer.close_reason, TLSTruncated)


@pytest.mark.row("D6")
def test_whom_a_client_does_not_trust_it_does_not_talk_to(certificates: Certificates) -> None:
    with serve(METHODS, "tls://127.0.0.1:0", tls=TLS(certificate=certificates.stranger)) as server:
        refused = pytest.raises(ssl.SSLCertVerificationError, match="cannot connect to")
        with refused, connect(server.url, tls=TLS(ca=certificates.ca)):
            pass
    with serve(METHODS, "tls://127.0.0.1:0", tls=TLS(certificate=certificates.server)) as server:
        refused = pytest.raises(ssl.SSLCertVerificationError, match="elsewhere")
        with refused, connect(server.url, tls=TLS(ca=certificates.ca, server_hostname="elsewhere.example")):
            pass
        with pytest.raises(FileNotFoundError), connect(server.url, tls=TLS(ca="/nowhere/ca.pem")):
            pass


@pytest.mark.row("D6")
def test_a_peer_that_never_shakes_hands_is_given_up_in_time(certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tls://127.0.0.1:{listener.getsockname()[1]}"
        late = pytest.raises(TimeoutError, match=r"within 0\.05 s")
        with late, connect(url, tls=TLS(ca=certificates.ca), connect_timeout=0.05):
            pass
        peer, _ = listener.accept()
        peer.close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tls://127.0.0.1:{listener.getsockname()[1]}"

        def hang_up() -> None:
            listener.accept()[0].close()

        task = Task(hang_up)
        with pytest.raises(OSError, match=r"handshake|reset"), connect(url, tls=TLS(ca=certificates.ca)):
            pass
        task.result()


@pytest.mark.row("D6", "H69")
def test_a_tls_stream_that_is_cut_is_told_apart_from_one_that_ends(certificates: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    for says_goodbye in (False, True):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"tls://127.0.0.1:{listener.getsockname()[1]}"
            session = connect(url, tls=TLS(ca=certificates.ca))
            task = Task(session.create_connection)
            accepted, _ = listener.accept()
            peer = context.wrap_socket(accepted, server_side=True)
            task.result()
            request = session.send_request("x")
            assert peer.recv(1000).endswith(b"\n")
            waiting = Task(request.result)
            if says_goodbye:
                peer.unwrap().close()
            else:
                socket.socket(fileno=peer.detach()).close()
            assert isinstance(waiting.error(), ConnectionLost)
            assert isinstance(session.close_reason, TLSTruncated) is not says_goodbye
            session.close()


# --- start TLS -------------------------------------------------------------------------------------------------------


def starting(certificates: Certificates) -> Methods:
    methods = Methods()

    @methods.method
    async def start() -> None:
        raise ReplyAndStartTLS("go ahead", TLS(certificate=certificates.server))

    @methods.method
    def is_safe(session: ServerSession) -> bool:
        return session._session.get_extra_info("ssl_object") is not None

    return methods


@pytest.mark.row("D6")
def test_tls_may_start_on_an_open_connection(certificates: Certificates) -> None:
    with serve(starting(certificates), "tcp://127.0.0.1:0") as server, connect(server.url) as session:
        assert session.call("is_safe") is False
        assert session.call("start") == "go ahead"
        session.start_tls(TLS(ca=certificates.ca))
        assert session.call("is_safe") is True
        assert session.peer_certificate() is not None
        with pytest.raises(LocalProtocolError, match="spoken already"):
            session.start_tls(TLS(ca=certificates.ca))
        tasks = [Task(session.call, "is_safe") for _ in range(4)]
        assert all(task.result() for task in tasks)


@pytest.mark.row("D6")
def test_tls_that_cannot_start_ends_the_session(certificates: Certificates) -> None:
    with serve(starting(certificates), "tcp://127.0.0.1:0") as server, connect(server.url) as session:
        session.call("start")
        with pytest.raises(ssl.SSLCertVerificationError, match="cannot start TLS with"):
            session.start_tls(TLS(ca=certificates.ca, server_hostname="elsewhere.example"))
        with pytest.raises((ClosedError, ConnectionLost)):
            session.call("is_safe")


def test_what_came_in_plain_text_behind_the_answer_ends_the_session() -> None:
    with raw_pair() as (session, server):
        request = session.send_request("start")
        line = server.line()
        answer = b'{"jsonrpc":"2.0","id":%d,"result":1}\n{"half' % line["id"]
        server.sock.sendall(answer)
        assert request.result() == 1
        with pytest.raises(RemoteProtocolError, match="plain text"):
            session.start_tls(True, server_hostname="localhost")
        assert session.is_closing()


@pytest.mark.row("D6")
def test_a_handler_of_a_client_may_agree_to_tls(certificates: Certificates) -> None:
    """The side that dialled is the server of the handshake then."""
    ours = Methods()

    @ours.method
    def start() -> None:
        raise ReplyAndStartTLS("go ahead", TLS(certificate=certificates.server))

    ours.method(name="echo")(lambda value: value)
    with raw_pair(ours, limits=Limits(handshake_timeout=10)) as (session, server):
        done = threading.Event()

        def talk() -> bytes:
            server.send({"jsonrpc": "2.0", "id": 1, "method": "start"})
            assert server.line()["result"] == "go ahead"
            context = ssl.create_default_context(cafile=certificates.ca)
            with context.wrap_socket(server.sock.dup(), server_hostname="localhost") as safe:
                safe.settimeout(10)
                safe.sendall(b'{"jsonrpc":"2.0","id":2,"method":"echo","params":["safe"]}\n')
                answer = safe.recv(1000)
                done.set()
                return answer

        task = Task(talk)
        while not done.is_set():
            session.poll(0.02)
        assert b'"safe"' in task.result()


def test_a_given_socket_is_encrypted_too(certificates: Certificates) -> None:
    with serve(METHODS, "tls://127.0.0.1:0", tls=TLS(certificate=certificates.server)) as server:
        port = int(server.url.rsplit(":", 1)[1])
        sock = socket.create_connection(("127.0.0.1", port))
        with ClientSession(sock=sock, ssl=TLS(ca=certificates.ca), server_hostname="localhost") as session:
            assert session.call("add", 1, 2) == 3
