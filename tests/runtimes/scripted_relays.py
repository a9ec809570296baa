# SPDX-License-Identifier: MIT
"""A SOCKS5 proxy that relays datagrams, good or hostile, made of bare sockets and threads."""

from __future__ import annotations

import ipaddress
import socket
import threading
from types import TracebackType

from tests.runtimes.scripted_proxies import Scripted, read, wait_for_end


class Relay:
    """Relays datagrams for one client.

    Args:
        names: The hosts that it knows.
        names_itself: What its reply names as the relay's address; None = its real one.
        refuses: The code of its reply; 0 = it grants.
        auth: User and password, when it wants them.

    Attributes:
        asked: The targets that datagrams were for, as they were named.
    """

    def __init__(
        self,
        names: dict[str, str] | None = None,
        *,
        names_itself: str | None = None,
        refuses: int = 0,
        auth: tuple[bytes, bytes] | None = None,
    ) -> None:
        self.asked: list[tuple[str, int]] = []
        self._names = names or {}
        self._names_itself = names_itself
        self._refuses = refuses
        self._auth = auth
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._client: tuple[str, int] | None = None
        self._control: socket.socket | None = None
        self._proxy = Scripted(self._talk)
        self._thread = threading.Thread(target=self._relay, daemon=True)

    @property
    def url(self) -> str:
        user = "" if self._auth is None else f"{self._auth[0].decode()}:{self._auth[1].decode()}@"
        return f"socks5://{user}127.0.0.1:{self._proxy.port}"

    @property
    def address(self) -> tuple[str, int]:
        return self._proxy.address

    @property
    def ended(self) -> threading.Semaphore:
        return self._proxy.ended

    def __enter__(self) -> Relay:
        self._proxy.__enter__()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._proxy.__exit__(kind, value, traceback)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", self._sock.getsockname())
        self._thread.join()
        self._sock.close()

    def hang_up(self) -> None:
        """End the connection on which the datagrams were asked for."""
        assert self._control is not None
        self._control.shutdown(socket.SHUT_RDWR)

    def send(self, datagram: bytes) -> None:
        """Send the client whatever bytes, from the relay's address."""
        assert self._client is not None
        self._sock.sendto(datagram, self._client)

    def _talk(self, sock: socket.socket) -> None:
        self._control = sock
        assert read(sock, 1) == b"\x05"
        methods = read(sock, read(sock, 1)[0])
        wanted = 0 if self._auth is None else 2
        assert wanted in methods
        sock.sendall(bytes([5, wanted]))
        if self._auth is not None:
            read(sock, 1)
            assert (read(sock, read(sock, 1)[0]), read(sock, read(sock, 1)[0])) == self._auth
            sock.sendall(b"\x01\x00")
        assert read(sock, 10) == b"\x05\x03\x00\x01" + bytes(6)
        host, port = self._sock.getsockname()
        host = self._names_itself or host
        sock.sendall(bytes([5, self._refuses, 0, 1]) + ipaddress.IPv4Address(host).packed + int.to_bytes(port, 2))
        wait_for_end(sock)

    def _relay(self) -> None:
        while True:
            datagram, source = self._sock.recvfrom(70_000)
            if datagram == b"end":
                return
            if self._client is None or source == self._client:
                self._client = source
                assert datagram[:3] == b"\0\0\0"
                size = {1: 4, 3: 1 + datagram[4]}[datagram[3]]
                field, rest = datagram[4 : 4 + size], datagram[4 + size :]
                host = field[1:].decode() if datagram[3] == 3 else str(ipaddress.ip_address(field))
                port = int.from_bytes(rest[:2])
                self.asked.append((host, port))
                self._sock.sendto(rest[2:], (self._names.get(host, host), port))
            else:
                head = b"\0\0\0\1" + ipaddress.IPv4Address(source[0]).packed + source[1].to_bytes(2)
                self._sock.sendto(head + datagram, self._client)
