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
    """Return the sockets that systemd, or whoever does as it does, has handed over to this very process.

    They are the caller's from then on: give each to a server (``Server(..., sock=...)``), or close it. Programs that
    are started later do not inherit them. What told of them (``LISTEN_PID``, ``LISTEN_FDS``, ``LISTEN_FDNAMES``) is
    taken out of ``os.environ``, so a second call finds none. Not for Windows, where there are none either.

    Args:
        name: Return those of this name alone (``FileDescriptorName=`` in a socket unit, else the unit's own name), and
            close the others. None = all.

    Returns:
        In their order. There are none when the variables are not set, as for a program that was started by hand, or
        when they are meant for another process.

    Raises:
        ValueError: The variables make no sense.
        OSError: What was handed over is no open socket. Those before it are closed again.
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
