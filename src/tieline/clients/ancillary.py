# SPDX-License-Identifier: MIT
"""The arguments for ancillary data of packets on Unix sockets: the container, and the size of the buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tieline.runtimes.ancillary import SocketAncillary

__all__ = ["checked_ancillary", "checked_room", "room_for"]

# For so many bytes of control data there is room where nobody says otherwise: for all the descriptors that one message
# of Linux takes, and more.
DEFAULT_ROOM: Final = 8192
# More is refused: that much is taken up for each message, and the system refuses sizes that are no int of C's.
MOST_ROOM: Final = 1 << 20


def checked_ancillary(ancillary_data: object) -> SocketAncillary | None:
    """Return *ancillary_data*.

    Raises:
        TypeError: It is no `tieline.socket.SocketAncillary`.
    """
    if ancillary_data is None:
        return None
    from tieline.runtimes.ancillary import SocketAncillary  # lazily: for the few who use it

    if not isinstance(ancillary_data, SocketAncillary):
        raise TypeError(f"ancillary_data must be a SocketAncillary, not {type(ancillary_data).__name__}")
    return ancillary_data


def room_for(ancillary_data: SocketAncillary | None, ancillary_bufsize: int | None) -> int:
    """Return for how many bytes of control data there is to be room; 0 = it is not wanted.

    Raises:
        ValueError: A size without a container, or one that is none.
        TypeError: The container is none.
    """
    if checked_ancillary(ancillary_data) is None:
        if ancillary_bufsize is not None:
            raise ValueError("ancillary_bufsize needs ancillary_data, the container for what comes")
        return 0
    if ancillary_bufsize is None:
        return DEFAULT_ROOM
    return checked_room(ancillary_bufsize)


def checked_room(ancillary_bufsize: object) -> int:
    """Return *ancillary_bufsize*.

    Raises:
        ValueError: It is no int of 1 or more, or beyond all that could come.
    """
    given = ancillary_bufsize
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= MOST_ROOM:
        raise ValueError(f"ancillary_bufsize must be an int of 1 or more, up to {MOST_ROOM}, not {given!r}")
    return given
