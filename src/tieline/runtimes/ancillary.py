# SPDX-License-Identifier: MIT
"""What can be sent beside data on Unix sockets: open files, and who one is (unix(7), SCM_RIGHTS and SCM_CREDENTIALS).

Whoever is given files without asking for them would have to close them: so nothing is received that was not asked
for, and what was is closed when nobody takes it.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tieline.endpoints.socket_addresses import UnixCredentials
from tieline.errors import UnsupportedOperation
from tieline.wire.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["RawMessages", "SCMCredentials", "SCMRights", "SocketAncillary", "receive_with", "send_with"]

# What the socket functions give and take: level, type, data.
RawMessages: TypeAlias = "list[tuple[int, int, bytes]]"

_RIGHTS: Final[int] = getattr(socket, "SCM_RIGHTS", -1)
_CREDENTIALS: Final[int] = getattr(socket, "SCM_CREDENTIALS", -1)
_CLOSE_ON_EXEC: Final[int] = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_UCRED: Final = struct.Struct("3i")
# Linux takes no more in one message (SCM_MAX_FD).
_MOST_FILES: Final = 253


@dataclass(frozen=True, slots=True)
class SCMRights:
    """Open files that are passed to another process (SCM_RIGHTS).

    Attributes:
        fds: Their file descriptors.
    """

    fds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SCMCredentials:
    """The credentials of the sender, which the system has verified (SCM_CREDENTIALS).

    Attributes:
        credentials: The process, user and group.
    """

    credentials: UnixCredentials


class SocketAncillary:
    """Ancillary data of a Unix socket: file descriptors and credentials, to be sent or received.

    File descriptors that you add stay yours. Received ones belong to the container until you take them with `messages`
    or `iter_fds`: then you must close them. The others are closed by `clear`, or when the container is deleted.

    Attributes:
        is_truncated: Whether some of the received ancillary data was lost because the buffer was too small.
    """

    __slots__ = ("_added", "_owned", "_received", "is_truncated")

    def __init__(self) -> None:
        self._added: list[SCMRights | SCMCredentials] = []
        self._received: list[SCMRights | SCMCredentials] = []
        self._owned: list[int] = []  # copies of ours, of what was added
        self.is_truncated = False

    def add_fds(self, fds: Iterable[int]) -> None:
        """Add file descriptors to be sent: the peer receives new ones for the same open files.

        Raises:
            TypeError: One of them is not an int.
            ValueError: One of them is negative.
        """
        found = tuple(fds)
        given: tuple[object, ...] = found
        for fd in given:
            if not isinstance(fd, int) or isinstance(fd, bool):
                raise TypeError(f"a descriptor is an int, not {type(fd).__name__}")
            if fd < 0:
                raise ValueError(f"a descriptor of an open file is 0 or more, not {fd}")
        if found:
            self._added.append(SCMRights(found))

    def add_creds(self, credentials: UnixCredentials | None = None) -> None:
        """Add credentials to be sent; None = those of this process. Only the superuser may send others.

        Raises:
            UnsupportedOperation: The platform does not support it.
        """
        if _CREDENTIALS < 0:
            raise UnsupportedOperation("this platform has no SCM_CREDENTIALS")
        if credentials is None:
            credentials = UnixCredentials(os.getpid(), os.getuid(), os.getgid())
        self._added.append(SCMCredentials(UnixCredentials(*credentials)))

    def messages(self, *, allow_truncated: bool = False) -> Iterator[SCMRights | SCMCredentials]:
        """Take out the messages that were received, one after another, then those that were added.

        Raises:
            OSError: EMSGSIZE: some of them were lost, and *allow_truncated* is False. Nothing was taken out.
        """
        self._check_whole(allow_truncated)
        while self._received:
            yield self._received.pop(0)
        yield from self._added

    def iter_fds(self, *, allow_truncated: bool = False) -> Iterator[int]:
        """Take out the file descriptors that were received, one after another; other messages stay.

        Raises:
            OSError: As `messages`.
        """
        self._check_whole(allow_truncated)
        for message in list(self._received):
            if isinstance(message, SCMRights):
                fds = list(message.fds)
                while fds:
                    fd = fds.pop(0)
                    self._put_back(message, tuple(fds))
                    message = SCMRights(tuple(fds))
                    yield fd

    def _put_back(self, message: SCMRights, left: tuple[int, ...]) -> None:
        place = self._received.index(message)
        if left:
            self._received[place] = SCMRights(left)
        else:
            del self._received[place]

    def _check_whole(self, allow_truncated: bool) -> None:
        if self.is_truncated and not allow_truncated:
            raise OSError(errno.EMSGSIZE, "some control data is lost, there was no room for it: ask for more next time")

    def clear(self) -> None:
        """Forget everything, and close the descriptors that were received and not taken."""
        received, self._received = self._received, []
        owned, self._owned = self._owned, []
        self._added.clear()
        self.is_truncated = False
        for message in received:
            if isinstance(message, SCMRights):
                owned.extend(message.fds)
        for fd in owned:
            try:
                os.close(fd)
            except OSError:  # somebody closed it under our hands
                pass

    def __del__(self) -> None:
        if hasattr(self, "is_truncated"):
            self.clear()

    def __bool__(self) -> bool:
        return bool(self._received or self._added)

    def __repr__(self) -> str:
        cut = ", truncated" if self.is_truncated else ""
        return f"<{type(self).__name__} {len(self._received)} received, {len(self._added)} to send{cut}>"

    # --- for transports ------------------------------------------------------------------------------------------

    def as_raw(self) -> RawMessages:
        """Return what was added as the socket functions take it.

        Raises:
            OSError: EMSGSIZE: more descriptors than one message takes.
        """
        fds = [fd for message in self._added if isinstance(message, SCMRights) for fd in message.fds]
        if len(fds) > _MOST_FILES:
            raise OSError(errno.EMSGSIZE, f"{len(fds)} descriptors do not fit into one message: {_MOST_FILES} do")
        raw: RawMessages = [(socket.SOL_SOCKET, _RIGHTS, array.array("i", fds).tobytes())] if fds else []
        for message in self._added:
            if isinstance(message, SCMCredentials):
                raw.append((socket.SOL_SOCKET, _CREDENTIALS, _UCRED.pack(*message.credentials)))
        return raw

    def update_from_raw(self, raw: Iterable[tuple[int, int, bytes]], *, is_truncated: bool = False) -> None:
        """Take in what a socket function has received; messages of other kinds are left out."""
        self.is_truncated = self.is_truncated or is_truncated
        for level, kind, data in raw:
            if level != socket.SOL_SOCKET:
                continue
            if kind == _RIGHTS:
                fds = array.array("i")
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
                if fds:
                    self._received.append(SCMRights(tuple(fds)))
            elif kind == _CREDENTIALS and len(data) >= _UCRED.size:
                self._received.append(SCMCredentials(UnixCredentials(*_UCRED.unpack_from(data))))

    def update(self, other: SocketAncillary) -> None:
        """Take over what *other* has received; it has nothing left."""
        self._received += other._received
        self.is_truncated = self.is_truncated or other.is_truncated
        other._received = []
        other.is_truncated = False

    def kept(self) -> SocketAncillary:
        """Return one with the same to send, and with descriptors of its own: whoever gave them may close theirs."""
        copy = SocketAncillary()
        for message in self._added:
            if isinstance(message, SCMRights):
                for fd in message.fds:
                    copy._owned.append(os.dup(fd))
                copy._added.append(SCMRights(tuple(copy._owned[-len(message.fds) :])))
            else:
                copy._added.append(message)
        return copy


def send_with(sock: socket.socket, data: Any, raw: RawMessages, flags: int, addr: Any) -> int:
    """Send *data* and what goes beside it by one sendmsg, and return how many bytes were sent."""
    return sock.sendmsg([data], raw, flags, addr)


def receive_with(sock: socket.socket, size: int, room: int, flags: int) -> tuple[bytes, SocketAncillary, int, Any]:
    """Receive data and what is beside it by one recvmsg: data, container, flags, address.

    *room* is for the control data, in bytes. Descriptors are closed when this process becomes another program.
    """
    data, raw, seen, addr = sock.recvmsg(size, room, flags | _CLOSE_ON_EXEC)
    ancillary = SocketAncillary()
    ancillary.update_from_raw(raw, is_truncated=bool(seen & socket.MSG_CTRUNC))
    return data, ancillary, seen, addr
