# SPDX-License-Identifier: MIT
"""What a session tells about itself."""

from __future__ import annotations

from tieline.wire.values import dataclass

__all__ = ["SessionStats"]


@dataclass(frozen=True, slots=True)
class SessionStats:
    """A snapshot of one session.

    Attributes:
        started: When the connection stood, in seconds of the runtime's clock; None before that.
        errors: Faulty messages of the peer and failures of handlers of ours.
        messages_in: Messages received (a batch is one).
        messages_out: Messages sent (a batch is one).
        bytes_in: Bytes received.
        bytes_out: Bytes handed to the transport.
        last_received: When bytes last came in, by the same clock; None = never.
        last_sent: When bytes were last handed to the transport, by the same clock; None = never.
        pending: Calls of ours that are unanswered.
        running: Requests of the peer that are being handled.
        cost: What the peer has cost on this connection, less what is forgiven; see `Governance`.
    """

    started: float | None
    errors: int
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    last_received: float | None
    last_sent: float | None
    pending: int
    running: int
    cost: float = 0.0
