# SPDX-License-Identifier: MIT
"""A connection on which some calls are never taken back: those by which the two sides come to terms.

Whether a call is one of those is noted when it is sent, so that no other dialect pays for the question, nor loads this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tieline.wire.default import DEFAULT
from tieline.wire.jsonrpc.lone import LoneConnection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tieline.wire.framing.base import FramerBase
    from tieline.wire.jsonrpc.protocols import JSONRPC
    from tieline.wire.limits import Default, Limits

__all__ = ["HandshakingConnection"]


class HandshakingConnection(LoneConnection):
    """For dialects whose `CancelRule` names methods of which calls are never taken back."""

    __slots__ = ("_kept", "_never")

    def __init__(
        self, protocol: type[JSONRPC], framer: FramerBase, limits: Limits, *, accepted: bool, longest_read: float
    ) -> None:
        super().__init__(protocol, framer, limits, accepted=accepted, longest_read=longest_read)
        rule = protocol.dialect.cancel
        self._never: frozenset[str] = frozenset(() if rule is None else rule.never)
        self._kept: set[int] = set()  # the ids of such calls: of those that are open, and of some before

    def _keep(self, call_id: int) -> None:
        self._kept.intersection_update(self.calls.open)
        self._kept.add(call_id)

    def ask(self, method: str, params: object, token: object) -> bytes | None:
        return None if method in self._never else super().ask(method, params, token)

    def ask_with_others(self, method: str, params: tuple[object, ...] | dict[str, object], token: object) -> int | None:
        return None if method in self._never else super().ask_with_others(method, params, token)

    def send_request(
        self, method: str, params: object, token: object, now: float, timeout: float | Default | None = DEFAULT
    ) -> int:
        call_id = super().send_request(method, params, token, now, timeout)
        if method in self._never:
            self._keep(call_id)
        return call_id

    def send_batch(
        self,
        methods: Sequence[str],
        params: Sequence[object],
        tokens: Sequence[object],
        now: float,
        timeout: float | Default | None = DEFAULT,
    ) -> range:
        ids = super().send_batch(methods, params, tokens, now, timeout)
        calls = [method for method, token in zip(methods, tokens, strict=True) if token is not None]
        for method, call_id in zip(calls, ids, strict=True):
            if method in self._never:
                self._keep(call_id)
        return ids

    def _tell_cancelled(self, call_id: int) -> None:
        if call_id not in self._kept:
            super()._tell_cancelled(call_id)
