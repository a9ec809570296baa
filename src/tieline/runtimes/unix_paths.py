# SPDX-License-Identifier: MIT
"""Socket files: who may take a path, with which permissions, and who may remove it.

The rules: a path is taken over only from the dead, never from a server that listens nor from a file that is no
socket; permissions hold before anybody can connect; a path is removed only by the server whose file it is. Only calls
that never wait are made here.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tieline.endpoints.unix import socket_url
from tieline.errors import UnsupportedOperation
from tieline.wire.addresses import attempt_error, combined_error, named, queue_full_pauses
from tieline.wire.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tieline.endpoints.unix import UnixStream

__all__ = ["PATIENCE", "Claim", "bind_datagrams", "claim_of", "connecting", "dialling_socket", "listening_socket"]

# Seconds to wait for another server that is taking the same path; that takes it less than a millisecond.
PATIENCE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Claim:
    """The socket file of a listening socket of ours.

    Attributes:
        path: Its absolute path, right even after a change of directory.
        device: The file system it is on.
        inode: Its inode. The kernel keeps it from being given to another file while the socket is open.
    """

    path: str
    device: int
    inode: int

    def release(self) -> None:
        """Remove the file if it is still ours. Call it BEFORE the socket is closed.

        While the socket listens, other servers see a live one and keep their hands off the path, so between the look
        and the removal nobody (of those who follow these rules) puts a file of theirs there. A file that cannot be
        removed stays: a closed socket's file harms nobody, and the next server takes its place.
        """
        try:
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == (self.device, self.inode):
                os.unlink(self.path)
        except OSError:
            pass


def dialling_socket(endpoint: UnixStream) -> socket.socket:
    """Return a non-blocking socket to be connected to ``endpoint.address``.

    Connecting it succeeds or fails at once. BlockingIOError says that the accept queue is full: the same socket may
    be tried again. (An event loop's `sock_connect` would wait for it to become writable, which it already is, and
    take it for connected.)

    Raises:
        UnsupportedOperation: This platform has no such sockets.
        OSError: It cannot have the endpoint's ``local_path``: EADDRINUSE if something is there. Or no descriptor is
            free.
    """
    _check_platform(endpoint)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as exc:
        raise named(exc, f"cannot connect to {endpoint}") from exc
    sock.setblocking(False)
    if endpoint.local_address is not None:
        try:
            sock.bind(endpoint.local_address)
        except OSError as exc:
            sock.close()
            raise named(exc, f"cannot connect from {socket_url('unix', str(endpoint.local_path))}") from exc
    return sock


def connecting(sock: socket.socket, endpoint: UnixStream, failures: list[OSError]) -> Iterator[float]:
    """Connect *sock*, a `dialling_socket`; yield for how many seconds to wait before each further try.

    It is connected when there is no more to wait for. *failures* has meanwhile what whoever gives up is to be told.

    Raises:
        OSError: Nobody there, or no way to get there.
    """
    try:
        for pause in queue_full_pauses():
            try:
                sock.connect(endpoint.address)
                return
            except BlockingIOError as exc:
                failures[:] = [attempt_error(exc, "the accept queue is full")]
            yield pause
    except OSError as exc:
        failures.clear()  # its frames know it: else only the garbage collector would find what it may hold
        raise combined_error([exc], f"cannot connect to {endpoint}") from exc


def listening_socket(endpoint: UnixStream) -> tuple[socket.socket, Claim | None]:
    """Return a non-blocking listening socket, and the claim on its file; an abstract name has no file.

    Raises:
        BlockingIOError: Another server is taking this path at this moment; try again shortly.
        UnsupportedOperation: This platform has no such sockets.
        ValueError: The endpoint has a ``local_path``, which is for connecting.
        OSError: EADDRINUSE if a live server or something that is no socket is there, else the natural one.
    """
    _check_platform(endpoint)
    if endpoint.local_path is not None:
        raise ValueError(f"local_path of {endpoint} is for connecting; its path is where it is to be")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if endpoint.is_abstract:
            sock.bind(endpoint.address)
            sock.listen(endpoint.backlog)
            return sock, None
        with _sole_taker(endpoint.address):
            _remove_stale(endpoint.address)
            return sock, _bind_to_path(sock, endpoint)
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError) and not isinstance(exc, BlockingIOError):
            reason = exc.strerror or str(exc)
            raise OSError(exc.errno, f"cannot listen on {endpoint}: {reason}") from exc
        raise


def bind_datagrams(sock: socket.socket, address: str | bytes, mode: int) -> None:
    """Bind a socket of datagrams to a path, or an abstract name with its NUL. The file of a dead one is taken over.

    Raises:
        OSError: EADDRINUSE if a live socket or something that is no socket is there, or another program takes the path
            at this moment; else the natural one.
    """
    path = os.fsdecode(address)
    if path.startswith("\0") or not path:
        sock.bind(address)
        return
    try:
        with _sole_taker(path):
            _remove_stale(path, socket.SOCK_DGRAM)
            _bind_with_mode(sock, path, mode)
    except BlockingIOError as exc:
        raise OSError(errno.EADDRINUSE, "another program is taking this path") from exc


def claim_of(path: str) -> Claim | None:
    """Return the claim on the file at *path* that was made just now; None when it is gone."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return Claim(os.path.abspath(path), found.st_dev, found.st_ino)


def _check_platform(endpoint: UnixStream) -> None:
    if not hasattr(socket, "AF_UNIX"):
        raise UnsupportedOperation(f"this platform has no Unix sockets: {endpoint}")
    if endpoint.is_abstract and sys.platform != "linux":
        raise UnsupportedOperation(f"only Linux has abstract names: {endpoint}")


def _bind_to_path(sock: socket.socket, endpoint: UnixStream) -> Claim:
    """Bind, set the permissions, listen.

    A socket that is bound but does not listen refuses everybody, so there is no moment at which more may connect than
    *mode* says. The umask is not touched, since it belongs to the whole process and all its threads. Nor is the
    socket bound under another name and renamed: it would report that other name as its address for ever.
    """
    path = endpoint.address
    _bind_with_mode(sock, path, endpoint.mode)
    try:
        found = os.lstat(path)
        sock.listen(endpoint.backlog)
    except BaseException:
        os.unlink(path)
        raise
    return Claim(os.path.abspath(path), found.st_dev, found.st_ino)


def _bind_with_mode(sock: socket.socket, path: str, mode: int) -> None:
    try:
        # On Linux the file is made with the permissions of the socket, less the umask; elsewhere this may fail, or
        # mean nothing, and the chmod below does it all.
        os.fchmod(sock.fileno(), mode)
    except OSError:
        pass
    sock.bind(path)
    try:
        if stat.S_IMODE(os.lstat(path).st_mode) != mode:
            os.chmod(path, mode)
    except BaseException:
        os.unlink(path)
        raise


def _remove_stale(path: str, kind: int = socket.SOCK_STREAM) -> None:
    """Remove the socket file at *path* if nobody listens on it.

    Raises:
        OSError: Somebody does, or what is there is no socket. Symbolic links are not followed, dangling or not.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EADDRINUSE, f"{_kind(mode)} is there, and only the socket of a dead server is replaced")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except FileNotFoundError:  # removed meanwhile
            return
        except BlockingIOError:  # its accept queue is full: very much alive
            pass
        except PermissionError as exc:
            raise PermissionError(exc.errno, "a socket is there to which this user may not connect") from exc
        except OSError as exc:
            if exc.errno != errno.EPROTOTYPE:
                raise
            raise OSError(errno.EADDRINUSE, "a live socket of another type is there") from exc
    raise OSError(
        errno.EADDRINUSE, "a live server listens there" if kind == socket.SOCK_STREAM else "a live socket is there"
    )


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a regular file" if stat.S_ISREG(mode) else "a special file"


@contextmanager
def _sole_taker(path: str) -> Generator[None, None, None]:
    """Hold the right to take *path*, against all other servers that use this function.

    Without it two servers could both find the same dead socket, the first replace it and the second then remove the
    first one's live socket; or one could take another's for dead in the moment between its bind and its listen. The
    lock is a file of its own beside the path (a lock on the directory may be held for long by somebody else), which
    is gone afterwards. If this process dies in between, the kernel frees the lock, and the file left behind is used
    by the next one.

    Raises:
        BlockingIOError: Another server holds it, for a moment.
    """
    import fcntl  # not on Windows, which has no Unix sockets in Python either

    directory, name = os.path.split(path)
    lock = os.path.join(directory, f".{name}.tieline-lock")
    # O_NOFOLLOW: in a directory that others may write to, a link could point anywhere.
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_file_at(descriptor, lock):
            # Its holder removed the file between our opening and locking it: what we hold is nobody's lock any more.
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
        try:
            yield
        finally:
            os.unlink(lock)
    finally:
        os.close(descriptor)


def _is_file_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
