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

    The protocol is called with ``pipe_data_received``, ``pipe_connection_lost`` and ``process_exited``; see
    `tieline.transports.SubprocessProtocol`; and with ``connection_lost(None)`` when the process has ended and all of
    its pipes are closed. ``transport.get_pipe_transport(0)`` writes to its input. Cancelling leaves nothing behind.

    Args:
        protocol_factory: Returns the protocol.
        program: The program, which is searched for in PATH. No shell is involved.
        args: Its arguments.
        stdin: As for `subprocess.Popen`; so are *stdout* and *stderr*.
        nursery: On trio the nursery that the process lives in; cancelling it kills the process. None elsewhere.
        kwargs: Further arguments of `subprocess.Popen`, except for those that make the pipes text streams.

    Raises:
        LocalProtocolError: On trio, *nursery* is missing or closed. Nothing was started.
        OSError: It cannot be started. FileNotFoundError: there is no such program.
        ValueError: An argument that is not for unbuffered pipes of bytes.
    """
    given = popen_arguments((program, *args), stdin, stdout, stderr, kwargs)
    started: tuple[Any, Any] = await current_backend().subprocess_exec(protocol_factory, given, nursery=nursery)
    return started
