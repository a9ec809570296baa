# SPDX-License-Identifier: MIT
"""The first lines of `tieline serve`: what is served, where, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import tieline
from tieline.cli.names import Framing, Protocol
from tieline.cli.serving import Plan

__all__ = ["announcement", "example"]

_SHOWN_NAMES = 6
_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where a server that listens everywhere is found from here
_SAMPLES = {"integer": "1", "number": "1.5", "string": "text", "boolean": "true", "array": "[]", "null": "null"}


def announcement(
    plan: Plan, names: Sequence[str] | None, urls: Sequence[str], sample: Sequence[str], workers: Sequence[int] = ()
) -> Iterator[str]:
    """Yield the lines; *names* is None when a session class decides what there is, *sample* a call to try."""
    yield f"serving {plan.target}: {_count(names)}"
    for url in urls:
        yield f"listening on {url}"
    if workers:
        yield f"by {len(workers)} workers: processes {', '.join(map(str, workers))}"
    url = _from_here(urls[0])
    options = _options(plan)
    if names is not None and plan.discover:
        yield f"try: {shlex.join(['tieline', 'methods', url, *options])}"
    if sample:
        yield f"try: {shlex.join(['tieline', 'call', url, *sample, *options])}"
    yield "Ctrl+C stops: requests that were accepted are answered"


def _count(names: Sequence[str] | None) -> str:
    if names is None:
        return "each connection has a session of that class"
    if not names:
        return "no methods yet"
    shown = list(names[:_SHOWN_NAMES])
    if len(names) > len(shown):
        shown.append("...")
    return f"{len(names)} method{'' if len(names) == 1 else 's'} ({', '.join(shown)})"


def _from_here(url: str) -> str:
    """Return the URL by which a server that listens on *url* is reached from this machine."""
    endpoint = tieline.parse(url)
    if isinstance(endpoint, tieline.TCP) and endpoint.host in _HERE:
        return tieline.TCP(_HERE[str(endpoint.host)], endpoint.port, tls=endpoint.tls).url
    return url


def _options(plan: Plan) -> list[str]:
    """Return the options that a client needs to be understood."""
    framing = [] if plan.framing == Framing.NEWLINE else ["--framing", plan.framing]
    protocol = [] if plan.protocol in {Protocol.V2, Protocol.AUTO} else ["--protocol", plan.protocol]
    dialect = [] if plan.dialect is None else ["--dialect", plan.dialect]
    return [*framing, *protocol, *dialect]


# --- a call to try ---------------------------------------------------------------------------------------------------


def example(methods: tieline.Methods | None) -> list[str]:
    """Return the method and the arguments of a call that a user could try; empty when none is easy to guess."""
    if methods is None:
        return []
    discovery = methods.get("rpc.discover")
    if discovery is None:
        return [*[name for name in methods if not name.startswith("rpc.")][:1]]
    document: dict[str, Any] = discovery.invoke(None, None)
    calls = [call for method in document["methods"] if (call := _call(method)) is not None]
    # One that takes something shows more than one that takes nothing.
    return max(calls, key=lambda call: min(len(call), 3)) if calls else []


def _call(method: dict[str, Any]) -> list[str] | None:
    """Return the words of a call of *method* with samples for what it requires; None when there is no sample."""
    words = [str(method["name"])]
    for param in method["params"]:
        if not param["required"]:
            continue
        sample = _sample(param["schema"])
        if sample is None:
            return None
        words.append(f"{param['name']}={sample}" if method["paramStructure"] == "by-name" else sample)
    return words


def _sample(schema: dict[str, Any]) -> str | None:
    choices = schema.get("enum")
    if choices:
        return str(choices[0])
    if not schema:
        return "1"
    return _SAMPLES.get(str(schema.get("type")))
