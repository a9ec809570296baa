# SPDX-License-Identifier: MIT
"""From what `create_datagram_endpoint` is asked for to a socket; what is not the same on each runtime is only waiting.

The rules are those of the loop's method of that name in asyncio, and ours beyond them: endpoints as values, paths as
bytes and objects, a name for each Unix socket that connects, and files of dead sockets are taken over.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tieline.endpoints.checks import check_host, check_integer, hosts_in_url
from tieline.endpoints.datagrams import UDP, UnixDatagram
from tieline.endpoints.socket_addresses import UnixSocketAddress
from tieline.endpoints.unix import socket_url
from tieline.errors import UnsupportedOperation
from tieline.runtimes import unix_paths
from tieline.runtimes.datagram_facts import name_of
from tieline.runtimes.tcp_sockets import any_addresses, listening_sockets
from tieline.wire.addresses import Address, attempt_error, combined_error, named

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


__all__ = ["Asked", "asked", "bound", "opened"]


_UNIX: Final[int] = getattr(socket, "AF_UNIX", -1)
_MAX_UDP: Final = 65535
_MAX_UNIX: Final = 256 * 1024


class Asked(NamedTuple):
    """What is asked for, checked.

    Attributes:
        local: Where the socket is to be: host and port, or what a Unix socket takes; None = the system chooses. A host
            that is None is all interfaces.
        remote: What it is to be connected to; None = to nothing.
        family: The address family; 0 = any but Unix.
        proto: The protocol number; 0 is the usual one.
        flags: For the resolver.
        reuse_port: SO_REUSEPORT.
        allow_broadcast: SO_BROADCAST.
        sock: A socket that is there already; None = one is made.
        mode: The permissions of the file of a Unix socket.
        max_size: The longest datagram that is taken.
    """

    local: Any = None
    remote: Any = None
    family: int = 0
    proto: int = 0
    flags: int = 0
    reuse_port: bool = False
    allow_broadcast: bool = False
    sock: socket.socket | None = None
    mode: int = 0o600
    max_size: int = _MAX_UDP

    @property
    def is_unix(self) -> bool:
        """Whether it is for a Unix socket that is to be made."""
        return self.family == _UNIX

    @property
    def title(self) -> str:
        """What errors name it."""
        return (
            self.title_at_home if self.remote is None else f"cannot open a socket of datagrams to {_shown(self.remote)}"
        )

    @property
    def title_at_home(self) -> str:
        """What errors name it that are about its own address."""
        return f"cannot open a socket of datagrams at {_shown(self.local)}"


def asked(
    local_addr: Any = None,
    remote_addr: Any = None,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    reuse_port: bool | None = None,
    allow_broadcast: bool | None = None,
    sock: socket.socket | None = None,
    proxy: Any = None,
) -> Asked:
    """Check the arguments of `create_datagram_endpoint`, and return what they ask for. *sock* is closed on failure.

    The *proxy* is only looked at for what it excludes; see `tieline.runtimes.proxies.datagram_route`.

    Raises:
        ValueError: They exclude each other, or such a socket cannot be; TypeError: one is of a wrong type.
    """
    settings = {"family": family, "proto": proto, "flags": flags, "reuse_port": reuse_port}
    settings["allow_broadcast"] = allow_broadcast
    given = {name: value for name, value in settings.items() if value}
    try:
        if sock is not None:
            addresses = {"local_addr": local_addr, "remote_addr": remote_addr, "proxy": proxy}
            return _of_socket(sock, [name for name, value in (addresses | given).items() if value])
        return _of_addresses(local_addr, remote_addr, given)
    except BaseException:
        if isinstance(sock, socket.socket):
            sock.close()
        raise


def _of_socket(sock: socket.socket, besides: list[str]) -> Asked:
    if besides:
        raise ValueError(f"sock excludes {', '.join(besides)}: it is there already")
    if sock.type != socket.SOCK_DGRAM:
        raise ValueError(f"a socket of datagrams is needed, not one of {sock.type!r}")
    return Asked(sock=sock, max_size=_MAX_UNIX if sock.family == _UNIX else _MAX_UDP)


def _of_addresses(local: Any, remote: Any, given: dict[str, Any]) -> Asked:
    for name, one in (("local_addr", local), ("remote_addr", remote)):
        if isinstance(one, UDP | UnixDatagram) and given:
            raise TypeError(f"{', '.join(given)}: settings go into {name} itself when it is an endpoint")
    match local, remote:
        case (None, UDP()):
            if not isinstance(remote.host, str) or remote.port == 0:
                raise ValueError(
                    f"can only listen on {remote}, not connect to it: that takes one host and a port over 0"
                )
            return Asked(_own(remote), (remote.host, remote.port), **_settings(remote))
        case (UDP(), None):
            if local.local_addr is not None:
                raise ValueError(f"local_addr of {local} is for connecting; its host and port say where to listen")
            if isinstance(local.host, tuple):
                raise ValueError(f"{local} has several hosts, as servers may have them: this is one socket")
            return Asked((local.host, local.port), None, reuse_port=local.reuse_port, **_settings(local))
        case (None, UnixDatagram()):
            own = None if remote.local_path is None else _raw(str(remote.local_path))
            return Asked(own, _raw(str(remote.path)), _unix(), mode=remote.mode, max_size=remote.max_size)
        case (UnixDatagram(), None):
            if local.local_path is not None:
                raise ValueError(f"local_path of {local} is for connecting; its path is where it is to be")
            return Asked(_raw(str(local.path)), None, _unix(), mode=local.mode, max_size=local.max_size)
        case (UDP() | UnixDatagram(), _) | (_, UDP() | UnixDatagram()):
            raise ValueError("an endpoint says all there is to say: it excludes the other address")
        case _:
            return _of_plain_addresses(local, remote, given)


def _own(endpoint: UDP) -> tuple[str | None, int] | None:
    """Return where *endpoint* is to send from; a host of None is any address."""
    if endpoint.local_addr is None:
        return None
    host, port = endpoint.local_addr
    return host or None, port


def _settings(endpoint: UDP) -> dict[str, Any]:
    names = ("family", "proto", "flags", "allow_broadcast", "max_size")
    return {name: getattr(endpoint, name) for name in names}


def _raw(path: str) -> str:
    return "\0" + path[1:] if path.startswith("@") else path


def _unix() -> int:
    if _UNIX < 0:
        raise UnsupportedOperation("this platform has no Unix sockets")
    return _UNIX


def _of_plain_addresses(local: Any, remote: Any, given: dict[str, Any]) -> Asked:
    family = given.get("family", 0)
    paths = (str, bytes, os.PathLike, UnixSocketAddress)
    if family == _UNIX or isinstance(local, paths) or isinstance(remote, paths):
        if family not in (0, _UNIX):
            raise ValueError("a path is an address of the family AF_UNIX alone")
        if set(given) - {"family"}:
            raise ValueError(f"a Unix socket has no {', '.join(set(given) - {'family'})}")
        own, peer = _unix_address("local_addr", local), _unix_address("remote_addr", remote)
        return Asked(own, peer, _unix(), max_size=_MAX_UNIX)
    own, peer = _inet_address("local_addr", local), _inet_address("remote_addr", remote)
    if own is None and peer is None and not family:
        raise ValueError("local_addr, remote_addr, family or sock must be given")
    if peer is not None and (peer[0] is None or peer[1] == 0):
        raise ValueError("remote_addr takes a host and a port over 0")
    settings: dict[str, Any] = {name: bool(value) if "_" in name else value for name, value in given.items()}
    return Asked(own, peer, **settings)


def _unix_address(name: str, address: Any) -> Any:
    if address is None:
        return None
    if isinstance(address, UnixSocketAddress):
        return address.as_raw()
    if not isinstance(address, str | bytes | os.PathLike):
        raise TypeError(f"{name} of a Unix socket must be a path, not {type(address).__name__}")
    path: str | bytes = os.fspath(address)
    if not path:
        raise ValueError(f"{name} of a Unix socket must not be empty")
    return path


def _inet_address(name: str, address: Any) -> tuple[str | None, int] | None:
    match address:
        case None:
            return None
        case (None | "", int(port)):
            host = None
        case (str(host), int(port)):
            check_host(host)
        case (str(host), int(port), int(_), int(scope)):  # as the socket functions give it
            host = f"{host.partition('%')[0]}%{scope}" if scope else host
        case _:
            raise TypeError(f"{name} must be a tuple of host and port, or an endpoint, not {address!r:.64}")
    check_integer(f"port of {name}", port, 65535)
    return host, port


def _shown(address: Any) -> str:
    match address:
        case (host, port):
            return f"udp://{hosts_in_url(host)}:{port}"
        case None:
            return "no address in particular"
        case _:
            path = os.fsdecode(address)
            return socket_url("unix-dgram", "@" + path[1:] if path.startswith("\0") else path)


# --- sockets ---------------------------------------------------------------------------------------------------------


async def opened(wanted: Asked, resolve: Callable[..., Awaitable[list[Address]]]) -> tuple[socket.socket, Any]:
    """Return a non-blocking socket, bound and connected as *wanted*, and the address that it is connected to.

    Names are looked up by *resolve*, and all addresses are tried in turn.

    Raises:
        OSError: It cannot be; as when dialling, of the class that all attempts have in common, with all of them as its
            cause.
        UnsupportedOperation: The platform has no such socket.
    """
    if wanted.sock is not None:
        wanted.sock.setblocking(False)
        return wanted.sock, name_of(wanted.sock.getpeername)
    if wanted.is_unix:
        return _opened_unix(wanted), wanted.remote
    if wanted.reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        raise UnsupportedOperation("this platform has no SO_REUSEPORT, which reuse_port=True needs")
    remotes = await _looked_up(wanted, wanted.remote, resolve)
    locals_ = await _looked_up(wanted, wanted.local, resolve)
    pairs = [(own, peer) for peer in remotes for own in locals_ if own is None or peer is None or _fit(own, peer)]
    failures: list[OSError] = []
    for own, peer in pairs:
        try:
            return _opened(wanted, own, peer), None if peer is None else peer.sockaddr
        except OSError as exc:
            failures.append(attempt_error(exc, " to ".join(str(one) for one in (own, peer) if one is not None)))
    if not pairs:
        reason = f"no address of {_shown(wanted.local)} is of a family of the other's"
        raise OSError(errno.EADDRNOTAVAIL, f"{wanted.title}: {reason}")
    raise combined_error(failures, wanted.title)


async def _looked_up(
    wanted: Asked, address: tuple[str | None, int] | None, resolve: Callable[..., Awaitable[list[Address]]]
) -> list[Address] | list[None]:
    if address is None:
        return [None]
    host, port = address
    if host is None:
        return any_addresses(port, family=wanted.family, proto=wanted.proto)
    settings = {"family": wanted.family, "proto": wanted.proto, "flags": wanted.flags}
    return await resolve(host, port, kind=socket.SOCK_DGRAM, **settings)


def _fit(own: Address, peer: Address) -> bool:
    return own.family == peer.family


def _opened(wanted: Asked, own: Address | None, peer: Address | None) -> socket.socket:
    one = peer or own
    sock = socket.socket(one.family if one is not None else wanted.family, socket.SOCK_DGRAM, wanted.proto)
    try:
        sock.setblocking(False)
        if wanted.reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if wanted.allow_broadcast:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if own is not None:
            sock.bind(own.sockaddr)
        if peer is not None:
            sock.connect(peer.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


async def bound(endpoint: UDP, resolve: Callable[..., Awaitable[list[Address]]]) -> list[socket.socket]:
    """Return non-blocking sockets at all addresses of all hosts of *endpoint*, on one port.

    Raises:
        ValueError: It says where to connect from.
        OSError, UnsupportedOperation: As of `listening_sockets`.
    """
    if endpoint.local_addr is not None:
        raise ValueError(f"local_addr of {endpoint} is for connecting; its host and port say where to listen")
    family, proto = endpoint.family, endpoint.proto
    settings = {"family": family, "proto": proto, "flags": endpoint.flags}
    hosts = [
        any_addresses(endpoint.port, family=family, proto=proto)
        if host is None
        else await resolve(host, endpoint.port, kind=socket.SOCK_DGRAM, **settings)
        for host in endpoint.hosts
    ]
    return listening_sockets(endpoint, hosts, _bound)


def _bound(endpoint: UDP, address: Address, port: int) -> socket.socket:
    host, _, *rest = address.sockaddr
    sock = socket.socket(address.family, socket.SOCK_DGRAM, address.proto)
    try:
        sock.setblocking(False)
        if endpoint.reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if endpoint.allow_broadcast:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if address.family == socket.AF_INET6:
            # Else :: would take the port on IPv4 too, and binding 0.0.0.0 beside it fail.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port, *rest))
    except BaseException:
        sock.close()
        raise
    return sock


def _opened_unix(wanted: Asked) -> socket.socket:
    own = wanted.local
    if own is None and wanted.remote is not None:
        if sys.platform != "linux":
            raise ValueError(
                "a Unix socket that is to be answered needs a local address: only Linux chooses one itself"
            )
        own = ""  # unix(7), "autobind"
    try:
        sock = socket.socket(_unix(), socket.SOCK_DGRAM)
    except OSError as exc:
        raise named(exc, wanted.title) from exc
    title = wanted.title_at_home if own else wanted.title
    try:
        sock.setblocking(False)
        if own is not None:
            unix_paths.bind_datagrams(sock, own, wanted.mode)
        title = wanted.title
        if wanted.remote is not None:
            sock.connect(wanted.remote)
    except OSError as exc:
        sock.close()
        raise named(exc, title) from exc
    except BaseException:
        sock.close()
        raise
    return sock
