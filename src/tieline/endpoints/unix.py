# SPDX-License-Identifier: MIT
"""Unix stream sockets, plain and with TLS."""

from __future__ import annotations

import os
import sys
from typing import Final

from tieline.endpoints.checks import check_integer, check_text
from tieline.endpoints.tls import TLS, check_tls
from tieline.wire.values import dataclass

__all__ = ["UnixStream", "socket_path", "socket_url"]

# What stands for itself in the path of a URL: RFC 3986, unreserved characters and some more that mean nothing there.
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/@:+,=")
# struct sockaddr_un: 108 bytes on Linux, 104 on the BSDs and macOS, the closing NUL included.
_MAX_UNIX_PATH: Final = 107 if sys.platform == "linux" else 103


@dataclass(frozen=True, slots=True)
class UnixStream:
    """A Unix stream socket, to connect to or to listen on.

    Attributes:
        path: The path of the socket file, or ``@name`` (also written with a leading NUL) for a name in Linux's abstract
            namespace, which has no file. A file whose own name starts with ``@`` is ``./@name``.
        mode: The permissions of the file, from its creation on and whatever the umask. Whoever may write to the file
            may connect. An abstract name has no permissions: every process of the network namespace may connect.
            Listening only.
        backlog: How many connections may wait to be accepted. Listening only.
        tls: How it is encrypted; None = not at all. To dial, it needs a `TLS.server_hostname`.
        local_path: The path or name of the socket that dials; None = it has none. The file that is created for it is
            not removed, and an existing one is an error. Dialling only.

    Raises:
        ValueError: A path that no socket can have: empty, with a NUL in it, or longer than the system's 108 bytes.
        TypeError: A value of the wrong type.
    """

    path: str | os.PathLike[str]
    mode: int = 0o600
    backlog: int = 1024
    tls: TLS | None = None
    local_path: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", socket_path("path", os.fspath(self.path)))
        if self.local_path is not None:
            object.__setattr__(self, "local_path", socket_path("local_path", os.fspath(self.local_path)))
        check_integer("mode", self.mode, 0o777)
        check_integer("backlog", self.backlog)
        check_tls(self.tls)

    @property
    def is_abstract(self) -> bool:
        """Whether it is a name in the abstract namespace and no file."""
        return str(self.path).startswith("@")

    @property
    def address(self) -> str:
        """What the socket functions take."""
        return _raw(str(self.path))

    @property
    def local_address(self) -> str | None:
        """What they take for the socket that dials; None = it has no name."""
        return None if self.local_path is None else _raw(str(self.local_path))

    @property
    def url(self) -> str:
        """The URL that `parse` reads back; it holds the path, and none of the other settings, TLS included."""
        return socket_url("unix", str(self.path))

    def __str__(self) -> str:
        return self.url


def _raw(path: str) -> str:
    return "\0" + path[1:] if path.startswith("@") else path


def socket_path(name: str, path: object) -> str:
    """Return *path* as endpoints have it, an abstract name with an ``@`` before it; *name* is for errors.

    Raises:
        ValueError: A path that no socket can have.
        TypeError: It is no text.
    """
    check_text(name, path)
    path = str(path)
    if path.startswith("\0"):
        path = "@" + path[1:]
    if path in {"", "@"}:
        raise ValueError(f"{name} of a Unix socket must not be empty, but is {path!r}")
    if "\0" in path:
        raise ValueError(f"{name} of a Unix socket must hold no NUL, but is {path!r}")
    size = len(os.fsencode(path))  # an abstract name has a NUL where we write "@", so it counts the same
    if size > _MAX_UNIX_PATH:
        raise ValueError(
            f"{name} of a Unix socket is {size} bytes long, and the system allows {_MAX_UNIX_PATH}: {path!r}"
        )
    return path


def socket_url(scheme: str, path: str) -> str:
    """Return the URL of *path* that `parse` reads back."""
    # Not by urllib.parse: it costs 1.5 ms, and a client that is lost when the interpreter ends can import nothing.
    quoted = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in os.fsencode(path))
    return (f"{scheme}://" if path.startswith("/") else f"{scheme}:") + quoted
