# SPDX-License-Identifier: MIT
"""What is said of a handshake that the core of websockets refuses: which header it is, never what stands in it."""

from __future__ import annotations

from websockets.exceptions import InvalidHeader, NegotiationError

__all__ = ["fault_text"]


def fault_text(fault: BaseException | None) -> str:
    """Return what *fault* means. The words of the other side are left out: some are secrets, and all are its own."""
    if isinstance(fault, InvalidHeader):
        return f"the header {fault.name} is {'missing' if fault.value is None else 'not what it must be'}"
    if isinstance(fault, NegotiationError):
        return "the extensions or subprotocols of the two sides do not go together"
    return "it has no end" if fault is None else "it is no valid HTTP"
