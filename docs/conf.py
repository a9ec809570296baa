# SPDX-License-Identifier: MIT
"""Sphinx configuration. Nothing here asks the network: no intersphinx, no remote fonts."""

import asyncio
import importlib
import json
import logging
import socket
import ssl
import tomllib
import typing
from pathlib import Path
from typing import Any

import msgspec
import opentelemetry.metrics
from sphinx.util.nodes import make_refnode

_project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "tieline"
author = "the tieline contributors"
copyright = f"2026, {author}"
version = release = _project["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "py:obj"  # `call` in a docstring is a link, and a warning where there is no such name
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}

html_theme = "furo"
html_title = "tieline"
html_copy_source = False


# --- names -----------------------------------------------------------------------------------------------------------

# Types are imported for annotations only, where tieline needs them for nothing else: here they are all wanted. What
# they are made of must have been imported before (asyncio, ...), since it is not meant to see this flag.
_OTHERS = (asyncio, json, logging, msgspec, opentelemetry.metrics, socket, ssl)
typing.TYPE_CHECKING = True
_tieline: Any = importlib.import_module("tieline")
_PUBLIC = {name: getattr(_tieline, name) for name in _tieline.__all__}
typing.TYPE_CHECKING = False

# `ClientSession` in the overloads of `tieline.blocking.connect` is of its own module; others have that name too.
suppress_warnings = ["ref.python"]
nitpick_ignore_regex = [
    # Of other packages: without intersphinx (no network), their names stay plain text.
    (
        r"py:.*",
        r"(asyncio|collections|concurrent|contextlib|datetime|decimal|enum|inspect|json|logging|msgspec|os|pickle|socket|ssl|subprocess|typing|types)(\..*)?",
    ),
    (r"py:class", r"MeterProvider"),  # of OpenTelemetry
    # Type variables, and the decoders that packets go through inside.
    (r"py:(class|obj)", r"(tieline\..*\.)?(Sent|Received|SentDTO|ReceivedDTO|NamedTuple|Packet|DTO)T(_co|_contra)?"),
    (r"py:class", r"tieline\.(wire\.protocols\.AnyStreamProtocol|clients\.(async_)?(stream|datagram)\.\w+)"),
    # What clients of one kind share.
    (r"py:(class|obj)", r"(Async)?(Stream|Datagram)Client"),
    (r"py:class", r"tieline\.endpoints\.proxies\.ProxySettings"),
    # What servers of one kind share, and what plain handlers are given: as the documented classes behind them.
    (r"py:class", r"(tieline\.servers\.\w+\.)?(Pooled\w+|NetworkServer|AsyncStreamServer|AsyncDatagramServer)"),
    (r"py:class", r"tieline\.wire\.serializers\.(framed|scanned|decoding|compressed)\.\w+"),
    (r"py:exc", r"struct\.error"),
    (r"py:class", r"struct\.Struct|tzinfo"),
    # Builtins.
    (r"py:.*", r"(bool|bytes|dict|float|frozenset|int|list|object|set|str|tuple|type|None|[A-Z]\w*(Error|Exception))"),
    # The ports of a runtime, and names inside of tieline: explained, not promised.
    (r"py:class", r"tieline\.(runtimes\..*|rpc\.methods\.F|rpc\.outcomes\.FailureLog|wire\.framing\.base\.MessageT)"),
    (r"py:class", r"tieline\.wire\.jsonrpc\.(connection\.Connection|batch_members\.BatchMember)"),
    (r"py:class", r"AbstractContextManager"),
    (
        r"py:class",
        r"tieline\.rpc\.(client\.SessionT|facts\.EngineT|(dialled|dialling|core|calls|call_engine|messages|server|life|blocking\.\w+)\.\w+)",
    ),
    (r"py:class", r"AnyStreamProtocol|AsyncBackend"),
    (r"py:class", r"tieline\.streams\..*|ProtocolT|StreamCallback|_\w*(Dialling|Listening)"),
    (r"py:class", r"LoopThread|AsyncServer"),  # what makes the server of a blocking one
    (r"py:obj", r"Binding|convert"),
    # Of the test kit: parts of hints, and what protocols and transports have.
    (r"py:class", r"Turns|VirtualTimer|Listener|tieline\.testing\.faults\.T"),
    (r"py:obj", r"connection_made|error_received|reset|DatagramTransport\.sendto"),
]

# Names that docstrings and hints use for public ones.
_ALIASES = {"Default": "DEFAULT", "Nothing": "serializers.NOTHING", "TLSChoice": "TLS"}
# Where a method is looked for that a docstring names without its class.
_OWNERS = ("", "SessionBase.", "ClientSession.", "RPCBatchOut.", "Limits.")


def resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Link a name that docstrings and hints use, wherever it is defined, to the public one of which it speaks."""
    if node.get("refdomain") != "py":
        return None
    objects = env.get_domain("py").objects
    parts = node["reftarget"].split(".")
    for first in range(len(parts)):
        name = ".".join(parts[first:])
        for owner in _OWNERS:
            found = objects.get(f"tieline.{owner}{_ALIASES.get(name, name)}")
            if found is not None:
                return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, content, found.node_id)
    return None


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("missing-reference", resolve)
