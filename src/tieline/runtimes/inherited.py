# SPDX-License-Identifier: MIT
"""Listening sockets that whoever started the program has handed over: the protocol of sd_listen_fds(3)."""

from __future__ import annotations

import os
import socket

__all__ = ["inherited_sockets"]

# Where they begin (SD_LISTEN_FDS_START), behind standard input, output and errors.
_FIRST = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def inherited_sockets(name: str | None = None) -> list[socket.socket]:
    """Return the sockets that systemd, or a program with the same protocol, has passed to this process.

    They belong to the caller from then on: pass each to a server (``Server(..., sock=...)``), or close it. Programs
    that are started later do not inherit them. The variables that announce them (``LISTEN_PID``, ``LISTEN_FDS``,
    ``LISTEN_FDNAMES``) are removed from ``os.environ``, so a second call returns none. Not for Windows, where there are
    none.

    Args:
        name: Return only those of this name (``FileDescriptorName=`` in a socket unit, else the unit's own name), and
            close the others. None = all.

    Returns:
        The sockets, in their order; an empty list if the variables are not set, as in a program that was started by
        hand, or are meant for another process.

    Raises:
        ValueError: The variables are invalid.
        OSError: One of the descriptors is not an open socket. The sockets before it are closed.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    told = {variable: os.environ.pop(variable, "") for variable in _VARIABLES}
    count = told["LISTEN_FDS"]
    if not (count.isascii() and count.isdigit()):
        raise ValueError(f"LISTEN_FDS must be a number of descriptors, not {count!r}")
    descriptors = range(_FIRST, _FIRST + int(count))
    names = told["LISTEN_FDNAMES"].split(":") if told["LISTEN_FDNAMES"] else ["unknown"] * len(descriptors)
    if len(names) != len(descriptors):
        raise ValueError(f"LISTEN_FDNAMES has {len(names)} names for {len(descriptors)} descriptors")
    found: list[socket.socket] = []
    try:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
            found.append(socket.socket(fileno=descriptor))
    except BaseException as exc:
        for sock in found:
            sock.close()
        if isinstance(exc, OSError):
            raise OSError(exc.errno, f"descriptor {_FIRST + len(found)} was to be a socket: {exc.strerror}") from exc
        raise
    wanted = [sock for sock, given in zip(found, names, strict=True) if name in (None, given)]
    for sock in found:
        if sock not in wanted:
            sock.close()
    return wanted
