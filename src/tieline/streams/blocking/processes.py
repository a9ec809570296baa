# SPDX-License-Identifier: MIT
"""Child processes with protocols of users' own, in blocking code: asyncio's signature, and a transport to be polled."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, TypeVar

from tieline.runtimes.blocking.processes import PolledProcess, start_polled
from tieline.streams.arguments import check_callable, popen_arguments

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

__all__ = ["subprocess_exec"]

ProtocolT = TypeVar("ProtocolT")


def subprocess_exec(
    protocol_factory: Callable[[], ProtocolT],
    program: str | bytes | os.PathLike[Any],
    *args: str | bytes | os.PathLike[Any],
    stdin: Any = subprocess.PIPE,
    stdout: Any = subprocess.PIPE,
    stderr: Any = subprocess.PIPE,
    **kwargs: Any,
) -> tuple[PolledProcess, ProtocolT]:
    """Start *program* with *args*, and return (transport, protocol). It moves while polled: `PolledProcess.poll`.

    The protocol is called with ``pipe_data_received``, ``pipe_connection_lost`` and ``process_exited``; see
    `tieline.transports.SubprocessProtocol`; and with ``connection_lost(None)`` when the process has ended and all of
    its pipes are closed. ``transport.get_pipe_transport(0)`` writes to its input. When interrupted it leaves nothing
    behind.

    Args:
        protocol_factory: Returns the protocol.
        program: The program, which is searched for in PATH. No shell is involved.
        args: Its arguments.
        stdin: As for `subprocess.Popen`.
        stdout: As for `subprocess.Popen`.
        stderr: As for `subprocess.Popen`.
        kwargs: Further arguments of `subprocess.Popen`, except for those that make the pipes text streams.

    Raises:
        OSError: It cannot be started. FileNotFoundError: there is no such program.
        ValueError: An argument that is not for unbuffered pipes of bytes.
        TypeError: *protocol_factory* cannot be called.
        Exception: What *protocol_factory* or ``connection_made`` raised; the process is killed.
    """
    check_callable("protocol_factory", protocol_factory)
    started: tuple[PolledProcess, Any] = start_polled(
        protocol_factory, popen_arguments((program, *args), stdin, stdout, stderr, kwargs)
    )
    return started
