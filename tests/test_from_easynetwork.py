# SPDX-License-Identifier: MIT
"""The page for those who come from EasyNetwork 1.2: whatever that has, tieline has, or the page names it.

What the page shows runs with all other pages; what both have on the wire is in tests/servers/test_easynetwork.py.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from tieline.exceptions import DatagramProtocolParseError, DeserializeError, PacketConversionError
from tieline.protocol import DatagramProtocol
from tieline.serializers import JSONSerializer

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "howto" / "from-easynetwork.md").read_text(encoding="utf-8")
NAMED = frozenset(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))

# Their public modules, and where users find here what is in them; "" = nowhere, so the page has to name it all.
HOMES = {
    "clients": "clients",
    "clients.abc": "clients.abc",
    "clients.async_unix_datagram": "clients",
    "clients.async_unix_stream": "clients",
    "clients.unix_datagram": "clients",
    "clients.unix_stream": "clients",
    "converter": "converter",
    "exceptions": "exceptions",
    "lowlevel.api_async.backend.abc": "backend",
    "lowlevel.api_async.backend.utils": "backend",
    "lowlevel.request_handler": "",
    "lowlevel.socket": "socket",
    "protocol": "protocol",
    "serializers": "serializers",
    "serializers.abc": "serializers",
    "serializers.base_stream": "serializers",
    "serializers.cbor": "serializers",
    "serializers.composite": "serializers",
    "serializers.json": "serializers",
    "serializers.line": "serializers",
    "serializers.msgpack": "serializers",
    "serializers.pickle": "serializers",
    "serializers.struct": "serializers",
    "serializers.tools": "serializers",
    "serializers.wrapper": "serializers",
    "servers": "servers",
    "servers.abc": "",
    "servers.async_unix_datagram": "servers",
    "servers.async_unix_stream": "servers",
    "servers.handlers": "",
    "servers.threads_helper": "",
    "warnings": "",
}
# What is given by position, and what the page says in other words.
OTHER_WORDS = {
    "SocketProxy": {"socket"},
    "SCMRights": {"fds"},
    "SCMCredentials": {"credentials"},
    "BaseProtocolParseError": {"error"},
}
# Of their backends, the page names as a group those that make connections and listeners.
CONNECTING = re.compile(r"(create_(tcp|udp|unix)|wrap_)\w+")
HANDLES = {"Task", "TaskInfo", "ThreadsPortal", "ICondition", "IEvent", "ILock", "BuiltinAsyncBackendLiteral"}


def members(kind: type) -> set[str]:
    of_errors = set(dir(OSError))
    return {name for name in dir(kind) if not name.startswith("_") and name not in of_errors}


def arguments(kind: Any) -> set[str]:
    """Return the arguments of the constructor that have a name for users."""
    taken = inspect.signature(kind.__init__).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {parameter.name for parameter in taken if parameter.kind in named} - {"self"}


@pytest.mark.parametrize("module", HOMES)
def test_whatever_easynetwork_has_is_here_or_on_the_page(module: str) -> None:
    theirs = importlib.import_module(f"easynetwork.{module}")
    ours = importlib.import_module(f"tieline.{HOMES[module]}") if HOMES[module] else None
    missing: set[str] = set()
    for name in theirs.__all__:
        their, our = getattr(theirs, name), getattr(ours, name, None)
        if name.startswith("_") or name in HANDLES:
            continue
        if our is None:
            missing |= {name} - NAMED
        # What replaces a class as a whole is told with its name. Handlers and settings are told part by part.
        if inspect.isclass(their) and (our is not None or module == "servers.handlers" or name.endswith("Config")):
            has = members(our) | arguments(our) if inspect.isclass(our) else set[str]()
            left = (members(their) | arguments(their)) - has - NAMED - OTHER_WORDS.get(name, set())
            missing |= {f"{name}.{member}" for member in left if not CONNECTING.fullmatch(member)}
    assert not missing


def test_what_is_no_packet_is_told_by_error() -> None:
    with pytest.raises(DatagramProtocolParseError) as caught:
        DatagramProtocol(JSONSerializer()).build_packet_from_datagram(b"{")
    assert isinstance(caught.value.error, DeserializeError)
    assert not isinstance(caught.value.error, PacketConversionError)
