# SPDX-License-Identifier: MIT
"""What proxies are told of who asks. No text that these values give of themselves holds any of it."""

from __future__ import annotations

import os
from typing import NamedTuple, cast

__all__ = ["SOCKSRandomAuth", "SOCKSUserAuth", "basic_credentials"]

_MAX: int = 255  # the one byte of length in RFC 1929
_MAX_BASIC: int = 4096


class _Secret(bytes):
    """Bytes that are not shown, not even where a traceback shows what its frames know."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "b'***'"

    __str__ = __repr__


class _Pair(NamedTuple):
    username: str | bytes
    password: str | bytes


class SOCKSUserAuth(_Pair):
    """A user name and a password: a named tuple that does not show them.

    SOCKS4 and SOCKS4a use the user name alone.

    Attributes:
        username: 1 to 255 bytes; a str is sent as UTF-8.
        password: The same. It may be empty where it is not used.

    Raises:
        ValueError: One is of another length.
        TypeError: One is neither str nor bytes.
    """

    __slots__ = ()

    def __new__(cls, username: str | bytes, password: str | bytes) -> SOCKSUserAuth:
        for name, value, least in (("username", username, 1), ("password", password, 0)):
            size = len(_encoded(name, value))
            if not least <= size <= _MAX:
                raise ValueError(f"{name} must be {least} to {_MAX} bytes long, not {size}")
        return super().__new__(cls, username, password)

    def __repr__(self) -> str:
        return "SOCKSUserAuth(username='***', password='***')"

    __str__ = __repr__

    def credentials(self) -> tuple[bytes, bytes]:
        """Return both as bytes."""
        return _encoded("username", self.username), _encoded("password", self.password)


class SOCKSRandomAuth:
    """A new random user name and password for each connection.

    To Tor that says: no two of these connections may share a circuit (stream isolation).
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "SOCKSRandomAuth()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SOCKSRandomAuth)

    def __hash__(self) -> int:
        return hash(SOCKSRandomAuth)

    def credentials(self) -> tuple[bytes, bytes]:
        """Return new ones, of 128 bits each; hexadecimal, so never with the "<torS0X>" that Tor keeps for itself."""
        return _Secret(os.urandom(16).hex().encode()), _Secret(os.urandom(16).hex().encode())


def basic_credentials(auth: object) -> tuple[bytes, bytes] | None:
    """Return what an HTTP proxy is told (RFC 7617): a pair of user name and password; None = nothing.

    Raises:
        ValueError: A colon in the user name, or a control character, or more than 4096 bytes.
        TypeError: It is no pair of str or bytes.
    """
    if auth is None:
        return None
    kind = type(auth).__name__
    pair = cast("tuple[object, ...]", auth) if isinstance(auth, tuple) else ()
    if len(pair) != 2:
        raise TypeError(f"auth of an HTTP proxy must be a pair (user name, password), not {kind}")
    user, password = _encoded("username", pair[0]), _encoded("password", pair[1])
    if b":" in user:
        raise ValueError("a user name for an HTTP proxy must hold no colon")
    for name, value in (("username", user), ("password", password)):
        if len(value) > _MAX_BASIC:
            raise ValueError(f"{name} must be at most {_MAX_BASIC} bytes long, not {len(value)}")
        if any(byte < 0x20 or byte == 0x7F for byte in value):
            raise ValueError(f"{name} for an HTTP proxy must hold no control characters")
    return user, password


def _encoded(name: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return _Secret(value)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str or bytes, not {type(value).__name__}")
    try:
        return _Secret(value.encode())
    except UnicodeEncodeError:
        # Its own text would show the value.
        raise ValueError(f"{name} has surrogates in it, so it cannot be encoded") from None
