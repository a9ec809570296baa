# SPDX-License-Identifier: MIT
"""TCP sockets as every runtime wants them: their options, their addresses, and several listening on one port.

Only calls that never wait are made here. Waiting for a connection, and for a resolver, is each runtime's own part.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
from collections import deque
from functools import lru_cache
from itertools import starmap
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tieline.errors import UnsupportedOperation
from tieline.wire.addresses import Address, attempt_error, combined_error, named
from tieline.wire.values import replace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from tieline.endpoints.datagrams import UDP
    from tieline.endpoints.tcp import TCP

EndpointT = TypeVar("EndpointT", "TCP", "UDP")

__all__ = [
    "any_addresses",
    "begin_to_connect",
    "check_connected",
    "check_family",
    "check_given",
    "dialling_socket",
    "listening_socket",
    "listening_sockets",
    "numeric_address",
    "resolve_by",
    "set_options",
    "take_given",
    "was_reset",
]

# Seconds of silence before the first probe, seconds between probes, and how many go unanswered before the connection
# counts as lost: a peer that vanished is noticed after two minutes. Names differ by platform.
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPALIVE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3))

_OPTIONS: Final[list[tuple[int, int, int]]] = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # Darwin alone spells the idle time TCP_KEEPALIVE; elsewhere that name, if there, is another unit's.
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in _KEEPALIVE
        if hasattr(socket, name) and (name != "TCP_KEEPALIVE" or sys.platform == "darwin")
    ),
]

# With it a socket is non-blocking from the beginning, which saves a system call.
_NONBLOCK: Final[int] = getattr(socket, "SOCK_NONBLOCK", 0)

# What binding says when this machine cannot have such an address at all, as with IPv6 turned off.
_NOT_HERE: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})

# What connecting says when it goes on by itself (connect(2)).
_UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR})

# With port 0 the system chooses for the first socket only; the others may find that port taken.
_PORT_TRIES: Final = 32


def set_options(sock: socket.socket) -> None:
    """Turn keepalive on, and Nagle's algorithm off, where the platform has the options.

    On a listening socket it holds for the connections accepted from it: they inherit these options.
    """
    deque(starmap(sock.setsockopt, _OPTIONS), maxlen=0)  # a loop in C


def take_given(sock: socket.socket) -> None:
    """Give a connected socket that somebody else made what those that are dialled have.

    Raises:
        ValueError: It is no stream socket, or one that listens.
    """
    check_given(sock)
    if sock.family in {socket.AF_INET, socket.AF_INET6}:
        set_options(sock)


def check_family(sock: socket.socket, families: Iterable[int]) -> None:
    """See that *sock* is of one of *families*.

    Raises:
        ValueError: It is of another.
    """
    if sock.family not in families:
        expected = " or ".join(_family_name(one) for one in families)
        raise ValueError(f"the socket is of family {_family_name(sock.family)}, expected {expected}")


def _family_name(family: int) -> str:
    try:
        return socket.AddressFamily(family).name
    except ValueError:  # one that this Python does not know
        return str(family)


def check_given(sock: socket.socket) -> None:
    """See that *sock* is connected: the system would take one that listens, or was never connected, for a silent one.

    Raises:
        ValueError: It is no stream socket, or one that listens.
        OSError: It is not connected (ENOTCONN).
    """
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"sock must be a stream socket, not one of {sock.type!r}")
    if _listens(sock):
        raise ValueError("sock must be a connected socket, and this one listens")
    try:
        sock.getpeername()
    except OSError as exc:  # of a closed one too, which is found behind this
        if exc.errno == errno.ENOTCONN and not was_reset(sock):
            raise OSError(exc.errno, "sock must be a connected socket, and this one is not connected") from exc


def _listens(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:  # a system that does not tell; or it is closed
        return False


def was_reset(sock: socket.socket) -> bool:
    """Return whether *sock*, of a stream and without a peer, had one: then a read brings bytes, the end or an error.

    A peer can reset a connection at any time. So one that was reset before it is given is taken all the same, and told
    of at its first use, as is one that is reset right behind that.

    Where the system cannot be asked it is taken to be so: the transport will find out and say so.
    """
    if _listens(sock):  # somebody at the door is something to read as well
        return False
    if not hasattr(select, "poll"):  # Windows
        return True
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return any(event & (select.POLLIN | select.POLLERR) for _, event in poll.poll(0))


def numeric_address(host: str, port: int, *, family: int, proto: int) -> Address | None:
    """Return the address that *host* spells out, or None if it is a name or of another family than asked for."""
    if ":" in host:
        return _ipv6_address(host, port, proto=proto) if family in {0, socket.AF_INET6} else None
    return _ipv4_address(host, port, proto) if family in {0, socket.AF_INET} else None


@lru_cache(maxsize=128)  # a program that connects often does so to a few of them
def _ipv4_address(host: str, port: int, proto: int) -> Address | None:
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return None
    return Address(socket.AF_INET, proto, (host, port))


def _ipv6_address(host: str, port: int, *, proto: int) -> Address | None:
    import ipaddress  # lazily: 1.5 ms, for IPv6 alone

    found = socket.AF_INET6
    try:
        zone = ipaddress.IPv6Address(host).scope_id
    except ValueError:
        return None
    if zone is None:
        return Address(found, proto, (host, port, 0, 0))
    try:
        scope = int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)
    except OSError as exc:
        raise OSError(errno.ENODEV, f"there is no interface {zone!r}, which host {host!r} names") from exc
    return Address(found, proto, (host.partition("%")[0], port, 0, scope))


def any_addresses(port: int, *, family: int, proto: int) -> list[Address]:
    """Return the addresses that stand for all interfaces, IPv4 first."""
    found = [Address(socket.AF_INET, proto, ("0.0.0.0", port)), Address(socket.AF_INET6, proto, ("::", port, 0, 0))]
    return [address for address in found if family in {0, address.family}]


async def resolve_by(
    getaddrinfo: Callable[..., Awaitable[Iterable[tuple[int, int, int, str, tuple[Any, ...]]]]],
    host: str,
    port: int,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    kind: int = socket.SOCK_STREAM,
) -> list[Address]:
    """Return the addresses of *host* for sockets of that *kind*, in the order of *getaddrinfo*.

    A numeric host needs none. Cancelling abandons the look-up: its thread may go on for a while, its answer goes
    nowhere.

    Raises:
        OSError: It cannot be looked up. A socket.gaierror: the host has no address.
    """
    numeric = numeric_address(host, port, family=family, proto=proto)
    if numeric is not None:
        return [numeric]
    # uvloop encodes names as they are, stock asyncio as IDNA, trio by another edition of that: settle it here.
    name = host if host.isascii() else host.encode("idna").decode("ascii")
    try:
        infos = await getaddrinfo(name, port, family=family, type=kind, proto=proto, flags=flags)
    except OSError as exc:  # a socket.gaierror; or there is no descriptor to ask with
        raise named(exc, f"cannot resolve host {host!r}") from exc
    return _resolved_addresses(infos)


def _resolved_addresses(infos: Iterable[tuple[int, int, int, str, tuple[object, ...]]]) -> list[Address]:
    """Return what a resolver's *infos* say, in their order, each address once."""
    found: dict[Address, None] = {}
    for family, _, proto, _, sockaddr in infos:
        match sockaddr:
            case (str(host), int(port)):
                found[Address(family, proto, (host, port))] = None
            case (str(host), int(port), int(flow), int(scope)):
                found[Address(family, proto, (host, port, flow, scope))] = None
            case _:  # the interpreter was built without this family
                pass
    return list(found)


def dialling_socket(address: Address, local: Sequence[Address]) -> socket.socket:
    """Return a non-blocking socket that can be connected to *address*, bound to the first *local* one that fits.

    Raises:
        OSError: There can be no such socket here, or none bound to any of *local*; an empty *local* binds to nothing.
            It names the addresses.
    """
    try:
        sock = socket.socket(address.family, socket.SOCK_STREAM | _NONBLOCK, address.proto)
    except OSError as exc:
        raise attempt_error(exc, address) from exc
    try:
        if not _NONBLOCK:
            sock.setblocking(False)
        set_options(sock)
        if local:
            _bind_first(sock, address, local)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_first(sock: socket.socket, address: Address, local: Sequence[Address]) -> None:
    """Bind *sock*, which is for *address*, to the first of *local* that is of its family and can be had."""
    owns = ", ".join(map(str, local))
    failures = [OSError(errno.EADDRNOTAVAIL, f"no local address is of the family of the other ({owns} to {address})")]
    for own in local:
        if own.family != address.family:
            continue
        try:
            sock.bind(own.sockaddr)
        except OSError as exc:
            failures[0] = attempt_error(exc, f"{own} to {address}")
        else:
            return
    raise failures.pop()  # its traceback refers to this frame


def begin_to_connect(sock: socket.socket, address: Address) -> bool:
    """Begin to connect *sock*, and return whether that is done. Else it is when the socket can be written.

    On this machine it is done within the call, although the call says that it is under way: nobody needs to wait then.

    Raises:
        OSError: It has failed, or led to the socket itself.
    """
    number = sock.connect_ex(address.sockaddr)
    if number and number not in _UNDER_WAY:
        raise OSError(number, os.strerror(number))
    try:
        peer = sock.getpeername()
    except OSError:
        return False
    _check_peer(sock, peer)
    return True


def check_connected(sock: socket.socket) -> None:
    """See that connecting *sock*, which has ended some time after it began, has led to a peer.

    Raises:
        OSError: It has failed, or led to the socket itself.
    """
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))
    try:
        peer = sock.getpeername()
    except OSError:  # reset meanwhile: the transport will find out and say so
        return
    _check_peer(sock, peer)


def _check_peer(sock: socket.socket, peer: object) -> None:
    """See that *sock* is not connected to itself.

    Dialling a port of this machine on which nobody listens may by chance pick that very port as its own, and TCP then
    connects the socket to itself (simultaneous open, RFC 9293, section 3.5).
    """
    if sock.getsockname() == peer:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody but this socket itself is there")


def listening_sockets(
    endpoint: EndpointT,
    hosts: Sequence[Sequence[Address]],
    new_socket: Callable[[EndpointT, Address, int], socket.socket],
) -> list[socket.socket]:
    """Return non-blocking sockets as *new_socket* makes them, one for each of the addresses of each of the *hosts*.

    Port 0 becomes one and the same port for all. An address of a host that this machine cannot have is left out if
    another address of that host can be had. If any other address fails, none is kept. With `reuse_port` a port that
    is asked for may be shared, and one that the system chooses is shared with nobody yet.

    Raises:
        OSError: Of the natural class, with every address that failed.
        UnsupportedOperation: This platform has no SO_REUSEPORT, and the endpoint asks for it.
    """
    if endpoint.reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        raise UnsupportedOperation(f"this platform has no SO_REUSEPORT, which reuse_port=True of {endpoint} needs")
    for _ in range(_PORT_TRIES - 1):
        try:
            return _listening_on_all(endpoint, hosts, new_socket)
        except OSError as exc:
            if endpoint.port != 0 or exc.errno != errno.EADDRINUSE:
                raise
    return _listening_on_all(endpoint, hosts, new_socket)


def _listening_on_all(
    endpoint: EndpointT,
    hosts: Sequence[Sequence[Address]],
    new_socket: Callable[[EndpointT, Address, int], socket.socket],
) -> list[socket.socket]:
    bound: dict[tuple[int, Any], socket.socket] = {}  # by what tells them apart: one host gives the protocol, one not
    port = endpoint.port
    try:
        for addresses in hosts:
            failed: list[OSError] = []
            for address in addresses:
                place = address.family, address.sockaddr
                if place in bound:
                    continue
                try:
                    if endpoint.reuse_port and port != endpoint.port:
                        # The system chose it as free on another address. Here it may be some other program's, which
                        # reuses ports too: we would take connections of that one, unnoticed.
                        new_socket(replace(endpoint, reuse_port=False), address, port).close()
                    sock = bound[place] = new_socket(endpoint, address, port)
                except OSError as exc:
                    failed.append(attempt_error(exc, address))
                    if exc.errno not in _NOT_HERE:
                        raise combined_error(failed, f"cannot listen on {endpoint}") from failed[-1]
                    continue
                port = sock.getsockname()[1]
            if len(failed) == len(addresses):
                raise combined_error(failed, f"cannot listen on {endpoint}")
    except BaseException:
        for sock in bound.values():
            sock.close()
        raise
    return list(bound.values())


class _ListeningSocket(socket.socket):
    """A listening stream socket that knows what it is.

    ``socket.accept`` asks for that for each connection, and other sockets make an enum of it each time.
    """

    __slots__ = ("_family",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._family: Any = super().family

    @property
    def family(self) -> Any:
        return self._family

    @property
    def type(self) -> Any:
        return socket.SOCK_STREAM


def listening_socket(endpoint: TCP, address: Address, port: int) -> socket.socket:
    """Return a listening socket at *address*, but for its port."""
    host, _, *rest = address.sockaddr
    sock = _ListeningSocket(address.family, socket.SOCK_STREAM, address.proto)
    try:
        sock.setblocking(False)
        # Restarting must not wait for the old connections' TIME_WAIT. Elsewhere the option means something else:
        # on Windows it lets strangers take over the port.
        if os.name == "posix" and sys.platform != "cygwin":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if endpoint.reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if address.family == socket.AF_INET6:
            # Else :: would take the port on IPv4 too, and binding 0.0.0.0 beside it fail.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        set_options(sock)
        sock.bind((host, port, *rest))
        # Here, not in the loop: with SO_REUSEADDR two sockets may be bound to one port until one of them listens, and
        # only then does the other one hear that the address is in use.
        sock.listen(endpoint.backlog)
    except BaseException:
        sock.close()
        raise
    return sock
