# SPDX-License-Identifier: MIT
"""The ``with`` that collects a batch, in blocking code."""

from __future__ import annotations

from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Generic, TypeVar

from tieline.errors import LocalProtocolError
from tieline.wire.anew import told_anew
from tieline.wire.jsonrpc.outgoing_batches import RPCBatchOut

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Batching"]

BatchT = TypeVar("BatchT", bound=RPCBatchOut)


class Batching(Generic[BatchT]):
    """Collects a batch, then sends it and waits for it; see `tieline.blocking.SessionBase.batch`.

    Args:
        new_batch: Makes it.
        exchange: Sends it, and waits for its answers.
        fail: Has nothing come of it any more, where the body or *exchange* has failed.
        raise_errors: Whether the first error among the results is raised.
    """

    __slots__ = ("_batch", "_exchange", "_fail", "_new_batch", "_raise_errors")

    _batch: BatchT

    def __init__(
        self,
        new_batch: Callable[[], BatchT],
        exchange: Callable[[BatchT], object],
        fail: Callable[[BatchT, BaseException], object],
        raise_errors: bool,
    ) -> None:
        self._new_batch = new_batch
        self._exchange = exchange
        self._fail = fail
        self._raise_errors = raise_errors

    def __enter__(self) -> BatchT:
        if hasattr(self, "_batch"):
            raise LocalProtocolError("this block has been entered before: call batch() anew")
        batch = self._batch = self._new_batch()
        batch.outcomes.is_filled_here = partial(_is_in_thread, get_ident())
        return batch

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        batch = self._batch
        batch.outcomes.is_filled_here = None
        if error is not None:
            self._fail(batch, error)
            return
        try:
            self._exchange(batch)
        except BaseException as exc:
            self._fail(batch, exc)
            raise
        if self._raise_errors:
            for result in batch.results:
                if isinstance(result, BaseException):
                    raise told_anew(result)


def _is_in_thread(ident: int) -> bool:
    return get_ident() == ident
