# SPDX-License-Identifier: MIT
"""The import floors hold, and the checker that says so bites: each rule is broken once in a made-up tree."""

from pathlib import Path

import pytest

from tests.architecture import violations

ROOT = Path(__file__).resolve().parent.parent

SPDX = "# SPDX-License-Identifier: MIT"

SOUND = {
    "__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tieline.rpc import call\n"
    "def __getattr__(name):\n    from tieline.loading import loaded\n    return loaded(name)\n",
    "loading.py": "import importlib\ndef loaded(name):\n    return importlib.import_module(f'tieline.{name}')\n",
    "errors.py": "",
    "endpoints.py": "from typing import TYPE_CHECKING\nfrom tieline import errors\nif TYPE_CHECKING:\n    import ssl\n",
    "wire/__init__.py": "def ids():\n    from .ids import Ids\n",
    "wire/ids.py": "import msgspec\nfrom tieline.errors import E\n",
    "wire/calls.py": "from . import ids\nfrom ..errors import E\n",
    "runtimes/__init__.py": "",
    "runtimes/host.py": "import socket, threading, time\n",
    "runtimes/link.py": "from tieline.runtimes.host import Host\nfrom tieline.wire import calls\n",
    "runtimes/tls.py": "def context():\n    import ssl\n",
    "runtimes/detect.py": "def backend():\n    from tieline.runtimes.asyncio import host\n",
    "runtimes/asyncio/__init__.py": "",
    "runtimes/asyncio/host.py": "import asyncio, uvloop\nfrom tieline.runtimes import host, link, tls\n",
    "runtimes/trio/host.py": "import trio\nfrom tieline.runtimes import host\n",
    "clients/__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .tcp import TCP\n",
    "clients/tcp.py": "from tieline.runtimes import detect\n",
    "servers/__init__.py": "",
    "servers/tcp.py": "",
    "servers/made.py": "from tieline.clients.tcp import TCP\n",
    "rpc/__init__.py": "",
    "rpc/call.py": "from tieline.clients.tcp import TCP\nimport tieline.servers.tcp\n",
    "exceptions.py": "from tieline.errors import *\n",
    "blocking/__init__.py": "from tieline.rpc import call\n",
    "cli/__init__.py": "import tieline\n",
    "cli/main.py": "import asyncio\nfrom tieline.exceptions import E\nimport rich\ndef f():\n    import ssl, uvloop\n",
    "__main__.py": "from tieline.cli import main\n",
    "testing/__init__.py": "import asyncio, time\nfrom tieline.wire import ids\nimport tieline.rpc\n",
}

FORBIDDEN = ["asyncio", "trio", "socket", "ssl", "select", "selectors", "threading", "time", "logging", "random"]

# What is written over the sound tree, and the one line that must come of it.
BROKEN = [
    ({"errors.py": "import tieline.runtimes.tls\n"}, "errors (floor 0) imports runtimes.tls (floor 3): upward"),
    ({"wire/x.py": "from tieline.endpoints import TCP\n"}, "wire.x (floor 1) imports endpoints (floor 2): upward"),
    ({"wire/x.py": "from .. import endpoints\n"}, "wire.x (floor 1) imports endpoints (floor 2): upward"),
    ({"wire/x.py": "import tieline\n"}, "wire.x (floor 1) imports tieline (floor 5): upward"),
    ({"wire/x.py": "from tieline import connect\n"}, "wire.x (floor 1) imports tieline (floor 5): upward"),
    ({"wire/x.py": "def f():\n    import tieline.rpc\n"}, "wire.x (floor 1) imports rpc (floor 4): upward"),
    (
        {"wire/x.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tieline.rpc import call\n"},
        "wire.x (floor 1) imports rpc.call (floor 4): upward",
    ),
    (
        {"wire/x.py": "import importlib\nm = importlib.import_module('tieline.rpc.call')\n"},
        "wire.x (floor 1) imports rpc.call (floor 4): upward",
    ),
    (
        {"wire/x.py": "from importlib import import_module\nm = import_module('a' + 'syncio')\n"},
        "wire.x imports a module by a computed name, which nobody can judge",
    ),
    ({"runtimes/x.py": "import tieline.rpc\n"}, "runtimes.x (floor 3) imports rpc (floor 4): upward"),
    ({"rpc/x.py": "import tieline.blocking\n"}, "rpc.x (floor 4) imports blocking (floor 5): upward"),
    ({"protocol.py": "import tieline.cli\n"}, "protocol (floor 5) imports cli (floor 6): upward"),
    ({"clients/tcp.py": "from tieline.servers import TCP\n"}, "clients.tcp (floor 4) imports servers (floor 5)"),
    ({"clients/tcp.py": "from tieline.servers import tcp\n"}, "clients.tcp imports its sibling servers.tcp"),
    ({"servers/made.py": "import tieline.rpc.call\n"}, "servers.made imports its sibling rpc.call"),
    ({"clients/x.py": "import tieline.rpc\n"}, "clients.x imports its sibling rpc"),
    ({"protocol.py": "from tieline.exceptions import E\n"}, "protocol imports its sibling exceptions"),
    (
        {"runtimes/trio/x.py": "from tieline.runtimes.asyncio.host import H\n"},
        "runtimes.trio.x imports the runtime runtimes.asyncio.host",
    ),
    (
        {"runtimes/blocking.py": "def f():\n    import tieline.runtimes.trio.host\n"},
        "runtimes.blocking imports the runtime runtimes.trio.host",
    ),
    (
        {"runtimes/pumped.py": "def f():\n    from .asyncio import host\n"},
        "runtimes.pumped imports the runtime runtimes.asyncio.host",
    ),
    (
        {"runtimes/detect.py": "from tieline.runtimes.asyncio import host\n"},
        "runtimes.detect imports the runtime runtimes.asyncio.host",
    ),
    ({"cli/main.py": "from tieline.rpc import call\n"}, "cli.main imports rpc.call: commands import faces only"),
    ({"cli/x.py": "import tieline.__main__\n"}, "cli.x imports its sibling __main__"),
    ({"cli/x.py": "import ssl\n"}, "cli.x imports ssl with itself: only lazily, inside a function"),
    (
        {"rpc/x.py": "from tieline.testing import clock\n"},
        "rpc.x imports testing: nothing imports the test kit",
    ),
    (
        {"testing/x.py": "from tieline import connect\n"},
        "testing.x uses a name of tieline while it is being loaded",
    ),
    (
        {"testing/x.py": "from tieline.testing import Clock\n"},
        "testing.x uses a name of testing while it is being loaded",
    ),
    ({"helpers.py": ""}, "helpers stands on no floor"),
    *(({"wire/x.py": f"import {name}\n"}, f"wire.x imports {name}: forbidden in wire/") for name in FORBIDDEN),
    ({"wire/x.py": "def f():\n    from time import monotonic\n"}, "wire.x imports time: forbidden in wire/"),
    ({"wire/x.py": "class A:\n    try:\n        import time as t\n    finally:\n        1"}, "imports time: forb"),
    ({"rpc/x.py": "import asyncio.streams\n"}, "rpc.x imports asyncio: allowed in runtimes.asyncio only"),
    ({"runtimes/link.py": "import asyncio\n"}, "runtimes.link imports asyncio: allowed in runtimes.asyncio only"),
    ({"runtimes/asyncio_x.py": "import asyncio\n"}, "runtimes.asyncio_x imports asyncio: allowed in"),
    ({"runtimes/trio/x.py": "import asyncio\n"}, "runtimes.trio.x imports asyncio: allowed in runtimes.asyncio only"),
    ({"runtimes/asyncio/x.py": "import trio\n"}, "runtimes.asyncio.x imports trio: allowed in runtimes.trio only"),
    (
        {"rpc/x.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from asyncio import Task\n"},
        "rpc.x imports asyncio: allowed in runtimes.asyncio only",
    ),
    ({"runtimes/asyncio/x.py": "def f():\n    import ssl\n"}, "imports ssl: allowed in endpoints and runtimes.tls"),
    ({"endpoints/x.py": "import ssl\n"}, "endpoints.x imports ssl with itself: only lazily"),
    ({"runtimes/tls.py": "import ssl\n"}, "runtimes.tls imports ssl with itself: only lazily, inside a function"),
    ({"wire/ids.py": "import tieline.wire.ids\n"}, "circle: wire.ids -> wire.ids"),
    ({"wire/ids.py": "from . import calls\n"}, "circle: wire.calls -> wire.ids -> wire.calls"),
    ({"wire/ids.py": "def f():\n    from .calls import C\n"}, "circle: wire.calls -> wire.ids -> wire.calls"),
    (
        {"wire/ids.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .calls import C\n"},
        "circle: wire.calls -> wire.ids -> wire.calls",
    ),
    ({"wire/__init__.py": "from .ids import Ids\n"}, "wire loads its part wire.ids with itself"),
    ({"rpc/__init__.py": "import tieline.rpc.call\n"}, "rpc loads its part rpc.call with itself"),
    ({"testing/__init__.py": "from . import clock\n", "testing/clock.py": ""}, "testing loads its part testing.clock"),
    ({"wire/ids.py": "from tieline.wire import Ids\n"}, "circle: wire -> wire.ids -> wire"),
    (
        {"wire/ids.py": "import tieline.wire.x\n", "wire/x.py": "from . import calls\n"},
        "circle: wire.calls -> wire.ids -> wire.x -> wire.calls",
    ),
    (  # to import the inner module runs its package first, which needs the importer
        {"wire/p/__init__.py": "from tieline.wire import x\n", "wire/p/q.py": "", "wire/x.py": "from .p import q\n"},
        "circle: wire.p -> wire.x -> wire.p",
    ),
]  # fmt: skip


def plant(root: Path, files: dict[str, str]) -> Path:
    package = root / "tieline"
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return package


def test_the_package_keeps_to_its_floors() -> None:
    if found := violations(ROOT / "src" / "tieline"):
        pytest.fail("\n".join(found), pytrace=False)


def test_a_sound_tree_passes(tmp_path: Path) -> None:
    assert violations(plant(tmp_path, SOUND)) == []


@pytest.mark.parametrize(("files", "told"), BROKEN, ids=[told for _files, told in BROKEN])
def test_each_breach_is_told_once(tmp_path: Path, files: dict[str, str], told: str) -> None:
    (line,) = violations(plant(tmp_path, SOUND | files))
    assert told in line


def test_every_code_file_opens_with_its_licence() -> None:
    folders = ("src", "tests", "tools", "docs", "examples")
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")) if "_build" not in path.parts]
    assert files
    assert not [
        path.relative_to(ROOT).as_posix()
        for path in files
        if not f"{path.read_text(encoding='utf-8') or SPDX}\n".startswith(f"{SPDX}\n")  # an empty file says nothing
    ]
