# SPDX-License-Identifier: MIT
"""Proxies for tests, good and hostile, made of bare sockets and threads: the same for every runtime."""

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

PATIENCE = 20.0  # seconds; a dialogue that takes longer is stuck

Script = Callable[[socket.socket], object]


class Scripted:
    """A listener whose connections are each handled by a script, in a thread; all end with the `with` block."""

    def __init__(self, script: Script, path: Path | None = None) -> None:
        self._script = script
        self._listener = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
        self._listener.bind(("127.0.0.1", 0) if path is None else str(path))
        self._listener.listen(16)
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_over = False
        self.connections = 0
        self.begun = threading.Semaphore(0)  # one for each connection
        self.ended = threading.Semaphore(0)  # one for each connection that the client has ended
        self.faults: list[BaseException] = []

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def __enter__(self) -> "Scripted":
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()
        assert not self.faults, self.faults

    def _start(self, target: Callable[..., object], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._is_over:
                sock.close()
                return
            self.connections += 1
            sock.settimeout(PATIENCE)
            self._open.add(sock)
            self._start(self._handle, sock)
            self.begun.release()

    def _handle(self, sock: socket.socket) -> None:
        with closing(sock):
            try:
                self._script(sock)
            except (EOFError, ConnectionError):  # the client has left
                self.ended.release()
            except BaseException as exc:  # told by __exit__
                self.faults.append(exc)
            finally:
                self._open.discard(sock)


def read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        data += read(sock, 1)
    return data


def wait_for_end(sock: socket.socket) -> None:
    """Read until the client leaves."""
    while sock.recv(65536):
        pass
    raise EOFError


# --- a good proxy ----------------------------------------------------------------------------------------------------


def at_once(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)


def byte_by_byte(sock: socket.socket, data: bytes) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in data:
        sock.sendall(bytes([byte]))


class Good:
    """A proxy that speaks SOCKS4, 4a, 5 and HTTP CONNECT, whichever it is spoken to in.

    Names are known to it by *names*, and to nobody else. *asked* lists what it was asked for, *users* by whom.
    """

    def __init__(
        self,
        names: dict[str, str] | None = None,
        *,
        send: Callable[[socket.socket, bytes], None] = at_once,
        auth: tuple[bytes, bytes] | None = None,
        glued: bytes = b"",
        speaks: str = "45C",
        grants_names: bool = True,
    ) -> None:
        self.names = {"localhost": "127.0.0.1", **(names or {})}
        self.send = send
        self.auth = auth
        self.glued = glued
        self.speaks = speaks
        self.grants_names = grants_names
        self.asked: list[tuple[str, int]] = []
        self.users: list[bytes] = []

    def __call__(self, sock: socket.socket) -> None:
        kind = read(sock, 1)
        spoken = {4: "4", 5: "5", 67: "C"}.get(kind[0], "")
        if not spoken or spoken not in self.speaks:
            return
        {"4": self._socks4, "5": self._socks5, "C": self._connect}[spoken](sock)

    def _socks4(self, sock: socket.socket) -> None:
        _, *rest = read(sock, 7)
        port = int.from_bytes(bytes(rest[:2]))
        self.users.append(until(sock, b"\0")[:-1])
        host = str(ipaddress.IPv4Address(bytes(rest[2:])))
        if host.startswith("0.0.0.") and host != "0.0.0.0":
            if not self.grants_names:
                self.send(sock, b"\0\x5b" + bytes(6))
                return
            host = until(sock, b"\0")[:-1].decode()
        self._tunnel(sock, host, port, b"\0\x5a" + bytes(6), b"\0\x5b" + bytes(6))

    def _socks5(self, sock: socket.socket) -> None:
        methods = read(sock, read(sock, 1)[0])
        wanted = 0 if self.auth is None else 2
        if wanted not in methods:
            self.send(sock, b"\x05\xff")
            return
        self.send(sock, bytes([5, wanted]))
        if self.auth is not None:
            assert read(sock, 1) == b"\x01"
            user = read(sock, read(sock, 1)[0])
            password = read(sock, read(sock, 1)[0])
            self.users.append(user)
            if (user, password) != self.auth:
                self.send(sock, b"\x01\x01")
                return
            self.send(sock, b"\x01\x00")
        _, command, _, kind = read(sock, 4)
        if kind == 3:
            host = read(sock, read(sock, 1)[0]).decode()
        else:
            host = str(ipaddress.ip_address(read(sock, 4 if kind == 1 else 16)))
        port = int.from_bytes(read(sock, 2))
        if command in (0xF0, 0xF1):
            self._resolve(sock, host)
            return
        bound = b"\x05\x00\x00\x03\x05bound\x00\x07"
        self._tunnel(sock, host, port, bound, b"\x05\x05\x00\x01" + bytes(6))

    def _resolve(self, sock: socket.socket, host: str) -> None:
        self.asked.append((host, 0))
        answer = self.names.get(host)
        if answer is None:
            self.send(sock, b"\x05\x04\x00\x00" + bytes(6))
        elif answer[0].isdigit():
            self.send(sock, b"\x05\x00\x00\x01" + ipaddress.IPv4Address(answer).packed + bytes(2))
        else:
            self.send(sock, b"\x05\x00\x00\x03" + bytes([len(answer)]) + answer.encode() + bytes(2))

    def _connect(self, sock: socket.socket) -> None:
        line, *headers = until(sock, b"\r\n\r\n").decode().split("\r\n")
        assert line.startswith("ONNECT ")
        host, _, port = line.split(" ")[1].rpartition(":")
        given = [one.partition(": ")[2] for one in headers if one.startswith("Proxy-Authorization: ")]
        self.users += [one.encode() for one in given]
        if self.auth is not None and not given:
            self.send(sock, b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
            return
        good = b"HTTP/1.1 200 Connection established\r\nProxy-Agent: test\r\n\r\n"
        self._tunnel(sock, host.strip("[]"), int(port), good, b"HTTP/1.1 502 Bad Gateway\r\n\r\n")

    def _tunnel(self, sock: socket.socket, host: str, port: int, good: bytes, bad: bytes) -> None:
        self.asked.append((host, port))
        place = self.names.get(host, host)
        # Not by a function that looks names up: tests let those fail.
        target = socket.socket(socket.AF_INET6 if ":" in place else socket.AF_INET)
        try:
            target.settimeout(PATIENCE)
            target.connect((place, port))
        except OSError:
            target.close()
            self.send(sock, bad)
            return
        with target:
            if self.glued:
                sock.sendall(good + self.glued)
            else:
                self.send(sock, good)
            back = threading.Thread(target=_pump, args=(target, sock), daemon=True)
            back.start()
            _pump(sock, target)
            back.join(PATIENCE)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


# --- hostile ones ----------------------------------------------------------------------------------------------------


def silent(sock: socket.socket) -> None:
    wait_for_end(sock)


def trickling(sock: socket.socket) -> None:
    """Send one byte of an HTTP reply now and then, for ever; every protocol but HTTP has enough of the first."""
    sock.settimeout(0.02)
    yes = iter(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        sock.sendall(bytes([next(yes, 0x61)]))
        with suppress(TimeoutError):
            if not sock.recv(65536):
                raise EOFError


def sends(data: bytes, *, reset: bool = False) -> Script:
    """Return a script that reads the first message, sends *data*, and ends or resets the connection."""

    def script(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(data)
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    return script


@contextmanager
def listening(script: Script, path: Path | None = None) -> Iterator[Scripted]:
    with Scripted(script, path) as scripted:
        yield scripted
