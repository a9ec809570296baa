# SPDX-License-Identifier: MIT
"""Blocking packet clients of datagrams against bare sockets."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import socket
import threading
import time
from math import inf, nan
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest

from tests.clients.datagram_peers import BYTES, JSON, send_fds, udp_peer, unix_peer
from tieline.clients import UDPNetworkClient, UnixDatagramClient, datagram_batches
from tieline.errors import ClientClosedError, DatagramProtocolParseError, SendTimeout
from tieline.protocol import StreamProtocol
from tieline.serializers import StringLineSerializer
from tieline.socket import SCMRights, SocketAncillary, UnixSocketAddress

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def in_thread(fn: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run *fn* in a thread; what it returns or raises comes into the list."""
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(fn())
        except Exception as exc:
            result.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, result


# --- connecting ------------------------------------------------------------------------------------------------------


@pytest.mark.row("K1", "K2", "K4", "K5", "K7")
def test_a_client_connects_sends_and_receives() -> None:
    with udp_peer() as peer, udp_peer() as stranger:
        with UDPNetworkClient(peer.getsockname(), JSON, local_address=("127.0.0.1", 0)) as client:
            assert repr(client) == f"<UDPNetworkClient udp://127.0.0.1:{peer.getsockname()[1]} connected>"
            assert not client.is_closed()
            assert client.fileno() == client.socket.fileno() > 0
            client.send_packet({"a": 1})
            data, addr = peer.recvfrom(100)
            assert (data, client.get_local_address()) == (b'{"a":1}', addr)
            assert client.get_remote_address() == peer.getsockname()
            stranger.sendto(b"0", addr)
            peer.sendto(b"[1]", addr)
            peer.sendto(b"[2]", addr)
            assert [client.recv_packet(timeout=10), client.recv_packet()] == [[1], [2]]
            client.send_packets([3, 4])
            assert [peer.recv(10), peer.recv(10)] == [b"3", b"4"]
        assert client.is_closed()
        assert client.fileno() == -1
        assert "closed" in repr(client)
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(client)


@pytest.mark.row("K2", "K5", "K18")
def test_a_unix_client_has_a_name_to_be_answered_at(tmp_path: Path) -> None:
    with unix_peer(tmp_path) as (peer, path):
        for own in (None, tmp_path / "own"):
            with UnixDatagramClient(UnixSocketAddress.from_pathname(path), BYTES, local_path=own) as client:
                client.send_packet(b"x")
                data, addr = peer.recvfrom(10)
                assert data == b"x"
                assert client.get_local_name() == UnixSocketAddress.from_raw(addr)
                assert client.get_peer_name().as_pathname() == path
                peer.sendto(b"y", addr)
                assert client.recv_packet() == b"y"
        assert (tmp_path / "own").exists()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.connect(path)
        with UnixDatagramClient(sock, BYTES) as client:
            assert client.get_local_name().as_abstract_name()


@pytest.mark.row("K6")
def test_errors_of_connecting_are_plain(tmp_path: Path) -> None:
    (tmp_path / "dead").touch()
    with pytest.raises(FileNotFoundError):
        UnixDatagramClient(tmp_path / "missing", BYTES)
    with pytest.raises(ConnectionRefusedError):
        UnixDatagramClient(tmp_path / "dead", BYTES)
    with pytest.raises(socket.gaierror):
        UDPNetworkClient(("no.such.host.invalid", 1), BYTES)


def unconnected() -> socket.socket:
    return socket.socket(type=socket.SOCK_DGRAM)


REFUSED: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (("h", 1), {"protocol": StreamProtocol(StringLineSerializer())}, TypeError, "must be a DatagramProtocol, not St"),
    (5, {}, TypeError, r"a client of UDP takes \(host, port\), .* or a connected socket, not int"),
    (("127.0.0.1", 1), {"retry_interval": 0}, ValueError, "retry_interval must be over 0, not 0"),
    (("127.0.0.1", 1), {"retry_interval": nan}, ValueError, "retry_interval must be 0 or more seconds, not nan"),
    (("127.0.0.1", 1), {"family": socket.AF_UNIX}, ValueError, "family must be"),
    (unconnected, {}, OSError, "the given socket is not connected"),
    (socket.socket, {}, ValueError, "must be one of datagrams"),
    (unconnected, {"local_address": ("127.0.0.1", 0)}, TypeError, "local_address: only for connecting"),
]


@pytest.mark.row("K1", "K2")
@pytest.mark.parametrize(("address", "settings", "error", "text"), REFUSED)
def test_what_makes_no_sense_is_refused(
    address: Any, settings: dict[str, Any], error: type[Exception], text: str
) -> None:
    where = address() if callable(address) else address
    with pytest.raises(error, match=text):
        UDPNetworkClient(where, **{"protocol": BYTES, **settings})
    if isinstance(where, socket.socket):
        assert where.fileno() == -1


@pytest.mark.row("K1")
def test_a_socket_of_another_kind_is_closed_when_it_is_refused() -> None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with pytest.raises(ValueError, match="must be one of datagrams"):
        UnixDatagramClient(sock, BYTES)
    assert sock.fileno() == -1


# --- packets ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("K11", "K14")
def test_what_is_no_packet_is_told_and_the_next_one_comes() -> None:
    with udp_peer() as peer, UDPNetworkClient(peer.getsockname(), JSON) as client:
        for data in (b"1", b"2", b"{", b"3"):
            peer.sendto(data, client.get_local_address())
        assert client.recv_packets() == [1, 2]
        with pytest.raises(DatagramProtocolParseError):
            client.recv_packet()
        assert client.recv_packets() == [3]
        with pytest.raises(RuntimeError, match="raised TypeError while it made the bytes"):
            client.send_packets([1, object()])
        client.send_packet("last")
        assert peer.recv(100) == b'"last"'


def test_a_fault_that_was_told_leaves_nothing_for_the_garbage_collector() -> None:
    with udp_peer() as peer, UDPNetworkClient(peer.getsockname(), JSON) as client:
        for data in (b"1", b"{"):
            peer.sendto(data, client.get_local_address())
        told: list[ref[Exception]] = []
        gc.disable()
        try:
            assert client.recv_packets() == [1]
            try:
                client.recv_packet()
            except DatagramProtocolParseError as exc:
                told.append(ref(exc))
            assert [one() for one in told] == [None]
        finally:
            gc.enable()


@pytest.mark.row("K11", "K14", "K15")
def test_each_fault_is_told_whatever_another_thread_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    take = datagram_batches.taken
    with udp_peer() as peer, UDPNetworkClient(peer.getsockname(), JSON) as client:
        for data in (b"1", b"2", b"{", b"{"):
            peer.sendto(data, client.get_local_address())

        def held_up(*args: Any) -> Any:
            monkeypatch.undo()
            assert client.recv_packets() == [2]  # as another thread does, which finds the first fault
            return take(*args)

        monkeypatch.setattr("tieline.clients.datagram.taken", held_up)
        assert client.recv_packets() == [1]
        for _ in range(2):
            with pytest.raises(DatagramProtocolParseError):
                client.recv_packet(timeout=5)


@pytest.mark.row("K13")
def test_times_are_kept(tmp_path: Path) -> None:
    with unix_peer(tmp_path) as (peer, path), UnixDatagramClient(path, BYTES, retry_interval=inf) as client:
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError) as caught:
                client.recv_packet(timeout=timeout)
            assert caught.value.errno == errno.ETIMEDOUT
        for wrong in (-1, nan):
            with pytest.raises(ValueError, match="timeout must be 0 or more"):
                client.recv_packet(timeout=wrong)
            with pytest.raises(ValueError, match="timeout must be 0 or more"):
                client.send_packet(b"", timeout=wrong)
        of_another_kind: Any = "1"
        with pytest.raises(TypeError, match="timeout must be a number or None, not str"):
            client.recv_packet(timeout=of_another_kind)
        sent = 0

        def fill() -> None:
            nonlocal sent
            while True:
                client.send_packet(b"%d" % sent, timeout=0)
                sent += 1

        with pytest.raises(SendTimeout) as told:
            fill()
        assert not told.value.sent
        with pytest.raises(SendTimeout):
            client.send_packet(b"late", timeout=0.01)
        with pytest.raises(SendTimeout, match="0 of 2 packets were sent in time") as none_sent:
            client.send_packets([b"a", b"b"], timeout=0)
        assert (none_sent.value.sent, none_sent.value.sent_before) == (False, 0)
        assert peer.recv(10) == b"0"
        with pytest.raises(SendTimeout, match="1 of 2 packets were sent in time") as one_sent:
            client.send_packets([b"%d" % sent, b"too much"], timeout=0)
        assert (one_sent.value.sent, one_sent.value.sent_before) == (False, 1)
        assert one_sent.value.errno == errno.ETIMEDOUT
        for number in range(1, sent + 1):
            assert peer.recv(10) == b"%d" % number
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):  # what timed out was not sent
            peer.recv(10)


@pytest.mark.row("K13", "K15")
def test_to_wait_for_another_thread_counts() -> None:
    with udp_peer() as peer, UDPNetworkClient(peer.getsockname(), BYTES) as client:
        thread, result = in_thread(client.recv_packet)
        while not client._engine._in_line[0]:  # until it waits
            time.sleep(0.001)
        with pytest.raises(TimeoutError):
            client.recv_packet(timeout=0.01)
        peer.sendto(b"x", client.get_local_address())
        thread.join()
        assert result == [b"x"]


@pytest.mark.row("K14")
def test_an_iterator_takes_what_the_system_holds_and_no_more() -> None:
    with udp_peer() as peer, UDPNetworkClient(peer.getsockname(), BYTES) as client:
        for number in range(100):
            peer.sendto(b"%d" % number, client.get_local_address())
        assert list(client.iter_received_packets()) == [b"%d" % number for number in range(100)]
        assert list(client.iter_received_packets(timeout=0.01)) == []


@pytest.mark.row("K17")
def test_a_refusal_is_told_and_the_client_goes_on() -> None:
    with udp_peer() as peer:
        where = peer.getsockname()
    with UDPNetworkClient(where, BYTES) as client:
        client.send_packet(b"x")
        with pytest.raises(ConnectionRefusedError, match=rf"refused \(127\.0\.0\.1:{where[1]}\)"):
            client.recv_packet(timeout=10)
        client.send_packet(b"x")
        with pytest.raises(ConnectionRefusedError, match=rf"refused \(127\.0\.0\.1:{where[1]}\)"):
            client.send_packet(b"y")
        with socket.socket(type=socket.SOCK_DGRAM) as again:
            again.bind(where)
            client.send_packet(b"z")
            assert again.recv(10) == b"z"


@pytest.mark.row("K17")
def test_empty_and_too_long_packets(tmp_path: Path) -> None:
    with udp_peer() as peer, UDPNetworkClient(peer.getsockname(), BYTES) as client:
        client.send_packet(b"")
        data, addr = peer.recvfrom(10)
        assert data == b""
        peer.sendto(b"", addr)
        assert client.recv_packet() == b""
        with pytest.raises(OSError, match="too long") as caught:
            client.send_packet(bytes(65508))
        assert caught.value.errno == errno.EMSGSIZE
    with unix_peer(tmp_path) as (unix, path), UnixDatagramClient(path, BYTES) as client_of_unix:
        unix.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        long = bytes(unix.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - 1024)
        client_of_unix.send_packet(b"")
        unix.sendto(long, unix.recvfrom(10)[1])
        assert client_of_unix.recv_packet() == long


@pytest.mark.row("K17")
def test_what_nobody_takes_is_dropped_and_counted() -> None:
    with udp_peer() as peer, UDPNetworkClient(peer.getsockname(), BYTES) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(1000):
            peer.sendto(bytes(100), client.get_local_address())
        taken = len(list(client.iter_received_packets()))
        assert 0 < taken < 1000
        assert taken + client.get_extra_info("dropped_by_system") == 1000


# --- threads, closing ------------------------------------------------------------------------------------------------


@pytest.mark.row("K15")
def test_threads_get_one_packet_each_and_none_is_lost(tmp_path: Path) -> None:
    with unix_peer(tmp_path) as (peer, path), UnixDatagramClient(path, BYTES) as client:
        client.send_packet(b"")
        addr = peer.recvfrom(1)[1]
        receivers = [in_thread(lambda: [client.recv_packet() for _ in range(100)]) for _ in range(4)]
        for number in range(400):
            peer.sendto(b"%d" % number + bytes(number), addr)  # of all lengths
        seen: list[bytes] = []
        for thread, result in receivers:
            thread.join()
            seen += result[0]
        assert sorted(seen, key=len) == sorted((b"%d" % number + bytes(number) for number in range(400)), key=len)


@pytest.mark.row("K9", "K15", "K16")
def test_closing_waits_for_nobody_and_wakes_all(tmp_path: Path) -> None:
    with unix_peer(tmp_path) as (_, path):
        client = UnixDatagramClient(path, BYTES, retry_interval=inf)

        def fill() -> None:
            while True:
                client.send_packet(b"x")

        sender = in_thread(fill)
        receivers = [in_thread(client.recv_packet) for _ in range(3)]
        while not client._engine._in_line[1] or client._engine._in_line[0] < 3:  # until all of them wait
            time.sleep(0.001)
        client.close()
        assert client.is_closed()
        for thread, result in (sender, *receivers):
            thread.join(30)
            assert not thread.is_alive()
            assert type(result[0]) is ClientClosedError
        assert client.socket.fileno() == -1  # the last of them has given it back
        client.close()
        client.abort()
        calls: list[Callable[[], object]] = [client.recv_packet, client.recv_packets, lambda: client.send_packet(b"")]
        for call in calls:
            with pytest.raises(ClientClosedError):
                call()
        assert list(client.iter_received_packets(timeout=None)) == []
        with pytest.raises(ClientClosedError):
            client.get_local_name()


@pytest.mark.row("K2")
def test_who_waits_looks_again_now_and_then() -> None:
    with udp_peer() as peer, UDPNetworkClient(peer.getsockname(), BYTES, retry_interval=0.01) as client:
        with pytest.raises(TimeoutError):
            client.recv_packet(timeout=0.05)
        peer.sendto(b"x", client.get_local_address())
        assert client.recv_packet() == b"x"


@pytest.mark.row("K7")
def test_a_client_that_is_forgotten_is_told_and_closed() -> None:
    with udp_peer() as peer:
        forgotten = [UDPNetworkClient(peer.getsockname(), BYTES)]
        sock = forgotten[0].get_extra_info("socket")
        with pytest.warns(ResourceWarning, match="unclosed client <UDPNetworkClient udp"):
            forgotten.clear()
        assert sock.fileno() == -1


# --- descriptors -----------------------------------------------------------------------------------------------------


@pytest.mark.row("K19")
def test_descriptors_go_beside_packets_both_ways(tmp_path: Path) -> None:
    with (
        unix_peer(tmp_path) as (peer, path),
        (tmp_path / "file").open("wb+") as file,
        UnixDatagramClient(path, BYTES) as client,
    ):
        file.write(b"content")
        file.flush()
        beside = SocketAncillary()
        beside.add_fds([file.fileno()])
        client.send_packet(b"take it", ancillary_data=beside)
        data, fds, _, addr = socket.recv_fds(peer, 100, 4)
        assert data == b"take it"
        send_fds(peer, b"1", list(fds), addr)
        send_fds(peer, b"2", [fds[0]] * 3, addr)
        os.close(fds[0])
        received = SocketAncillary()
        assert client.recv_packet(ancillary_data=received) == b"1"
        match list(received.messages()):
            case [SCMRights(fds=(fd,))]:
                assert os.pread(fd, 100, 0) == b"content"
                os.close(fd)
            case other:
                pytest.fail(f"received {other}")
        assert client.recv_packet(ancillary_data=received, ancillary_bufsize=socket.CMSG_LEN(4)) == b"2"
        with pytest.raises(OSError, match="control data is lost"):
            list(received.messages())
        with pytest.raises(ValueError, match="ancillary_bufsize needs ancillary_data"):
            client.recv_packet(ancillary_bufsize=100)
