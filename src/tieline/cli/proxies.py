# SPDX-License-Identifier: MIT
"""What the option ``--proxy`` means. No text of an error repeats any part of a URL: passwords stand in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import tieline
from tieline.cli.exits import Exit, Failure

__all__ = ["ENVIRONMENT", "one_proxy", "proxies_for"]

ENVIRONMENT: Final = "env"


def proxies_for(words: Sequence[str], url: str) -> Any:
    """Return what ``proxy=`` is to be on the way to *url*; None = no proxy.

    Raises:
        Failure: The environment is asked for and names none, or is not alone.
        ValueError: *url* or the variable cannot be understood.
    """
    if ENVIRONMENT not in words:
        return list(words) or None
    if len(words) > 1:
        raise Failure(Exit.USAGE, f"--proxy {ENVIRONMENT} stands alone: the environment names one proxy")
    if tieline.proxy_from_environment() is None:
        raise Failure(Exit.USAGE, f"--proxy {ENVIRONMENT}: ALL_PROXY names no proxy")
    endpoint: Any = tieline.parse(url)
    under: Any = endpoint.under if isinstance(endpoint, tieline.WebSocket) else endpoint
    return tieline.proxy_from_environment(getattr(under, "host", None))


def one_proxy(word: str) -> Any:
    """Return the proxy that *word* names, a URL or ``env``.

    Raises:
        Failure: It names none.
    """
    try:
        if word != ENVIRONMENT:
            return tieline.connect("tcp://192.0.2.1:1", proxy=word).proxy()  # which is never dialled
        found = tieline.proxy_from_environment()
    except ValueError as exc:
        raise Failure(Exit.USAGE, str(exc)) from exc
    if found is None:
        raise Failure(Exit.USAGE, "env: ALL_PROXY names no proxy")
    return found
