# SPDX-License-Identifier: MIT
"""Blocking code: the same names as in `tieline`, for plain scripts and programs with threads, without ``await``.

Start here: `connect` and `serve`. Names that never wait (`Methods`, `Limits`, `TLS`, errors, ...) are those of
`tieline` itself. Everything is imported when it is first used.
"""

# As in tieline/__init__.py: nothing is imported here.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from tieline.rpc.blocking.client import ClientSession, connect
    from tieline.rpc.blocking.messages import MessageSession
    from tieline.rpc.blocking.pooled import ServerSession
    from tieline.rpc.blocking.pooled_messages import ServerMessageSession
    from tieline.rpc.blocking.server import Server
    from tieline.rpc.blocking.serving import serve
    from tieline.rpc.blocking.session import SessionBase
    from tieline.runtimes.blocking.datagram_endpoints import create_datagram_endpoint
    from tieline.runtimes.blocking.polled import PolledTransport
    from tieline.runtimes.blocking.processes import PolledProcess
    from tieline.runtimes.blocking.proxies import HTTPConnectProxy, SOCKSProxy, check_proxy
    from tieline.runtimes.blocking.waiters import BlockingBatch, BlockingRequest
    from tieline.streams.blocking.dialling import create_connection, create_unix_connection
    from tieline.streams.blocking.opening import open_connection, open_unix_connection
    from tieline.streams.blocking.processes import subprocess_exec
    from tieline.streams.blocking.securing import start_tls
    from tieline.streams.blocking.streams import StreamReader, StreamWriter

_MODULES = {
    "tieline.rpc.blocking.client": ("ClientSession", "connect"),
    "tieline.rpc.blocking.messages": ("MessageSession",),
    "tieline.rpc.blocking.pooled": ("ServerSession",),
    "tieline.rpc.blocking.pooled_messages": ("ServerMessageSession",),
    "tieline.rpc.blocking.server": ("Server",),
    "tieline.rpc.blocking.serving": ("serve",),
    "tieline.rpc.blocking.session": ("SessionBase",),
    "tieline.runtimes.blocking.polled": ("PolledTransport",),
    "tieline.runtimes.blocking.processes": ("PolledProcess",),
    "tieline.runtimes.blocking.proxies": ("HTTPConnectProxy", "SOCKSProxy", "check_proxy"),
    "tieline.runtimes.blocking.datagram_endpoints": ("create_datagram_endpoint",),
    "tieline.runtimes.blocking.waiters": ("BlockingBatch", "BlockingRequest"),
    "tieline.streams.blocking.dialling": ("create_connection", "create_unix_connection"),
    "tieline.streams.blocking.opening": ("open_connection", "open_unix_connection"),
    "tieline.streams.blocking.processes": ("subprocess_exec",),
    "tieline.streams.blocking.securing": ("start_tls",),
    "tieline.streams.blocking.streams": ("StreamReader", "StreamWriter"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "BlockingBatch",
    "BlockingRequest",
    "ClientSession",
    "HTTPConnectProxy",
    "MessageSession",
    "PolledProcess",
    "PolledTransport",
    "SOCKSProxy",
    "Server",
    "ServerMessageSession",
    "ServerSession",
    "SessionBase",
    "StreamReader",
    "StreamWriter",
    "check_proxy",
    "connect",
    "create_connection",
    "create_datagram_endpoint",
    "create_unix_connection",
    "open_connection",
    "open_unix_connection",
    "serve",
    "start_tls",
    "subprocess_exec",
]


if not TYPE_CHECKING:  # checkers that knew of it would let every misspelt name pass

    def __getattr__(name: str) -> object:
        from tieline.loading import loaded  # here, as above

        return loaded(globals(), _HOMES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
