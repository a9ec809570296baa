# SPDX-License-Identifier: MIT
"""Child processes with protocols of users' own: asyncio's signature, on every asynchronous runtime."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any, TypeVar

from tieline.runtimes.detect import current_backend
from tieline.streams.arguments import popen_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

    from tieline.runtimes.contract import SubprocessTransport

__all__ = ["subprocess_exec"]

ProtocolT = TypeVar("ProtocolT")


async def subprocess_exec(
    protocol_factory: Callable[[], ProtocolT],
    program: str | bytes | os.PathLike[Any],
    *args: str | bytes | os.PathLike[Any],
    stdin: Any = subprocess.PIPE,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    nursery: object = None,
    **kwargs: Any,
) -> tuple[SubprocessTransport, ProtocolT]:
    """Start *program* with *args*, and return (transport, protocol), like the method of an asyncio event loop.

    The callbacks of the protocol are ``pipe_data_received``, ``pipe_connection_lost`` and ``process_exited``; see
    `tieline.transports.SubprocessProtocol`. ``connection_lost(None)`` is called when the process has ended and all of
    its pipes are closed. ``transport.get_pipe_transport(0)`` writes to its input. Cancelling leaves nothing behind.

    Args:
        protocol_factory: Returns the protocol; called without arguments.
        program: The program, searched in PATH. No shell is involved.
        args: Its arguments.
        stdin: As for `subprocess.Popen`; so are *stdout* and *stderr*.
        nursery: On trio, the nursery for the process; cancelling it kills the process. None elsewhere.
        kwargs: Further arguments of `subprocess.Popen`, except those for text mode.

    Raises:
        LocalProtocolError: On trio, *nursery* is missing or closed. Nothing was started.
        OSError: The program cannot be started (FileNotFoundError: it does not exist).
        ValueError: An argument for text mode or buffering.
    """
    given = popen_arguments((program, *args), stdin, stdout, stderr, kwargs)
    started: tuple[Any, Any] = await current_backend().subprocess_exec(protocol_factory, given, nursery=nursery)
    return started
