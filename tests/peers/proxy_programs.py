# SPDX-License-Identifier: MIT
"""Real proxies on loopback as fixtures: microsocks, ssh -D, dante and tinyproxy. Each gives what starts one.

dante asks the system whether a password is right. So that the system's own accounts have no part in it, one with a
password gets accounts of its own, by the library nss_wrapper.
"""

from __future__ import annotations

import glob
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.peers.programs import free_port, running
from tests.rpc.sessions import until

__all__ = ["LOCAL", "PASSWORD", "USER", "Start", "dante", "microsocks", "ssh", "tinyproxy"]

LOCAL = "127.0.0.1"
USER, PASSWORD = "ann", "p@ss"

# Starts a proxy with the given options, and gives its port.
Start = Callable[..., AbstractAsyncContextManager[int]]


@asynccontextmanager
async def _listening(port: int, *command: str | Path, env: Mapping[str, str] | None = None) -> AsyncIterator[int]:
    """Run a program that does not say when it listens on *port*, and give that when it does.

    *env* is added to its environment.
    """
    words = [f"{name}={value}" for name, value in (env or {}).items()]
    async with running(*(["/usr/bin/env", *words] if words else []), *command):
        await until(lambda: _is_open(port), f"{command[0]} does not listen")  # nothing else tells
        yield port


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        # A socket may connect to itself where nobody listens.
        return probe.connect_ex((LOCAL, port)) == 0 and probe.getsockname() != probe.getpeername()


@pytest.fixture
def microsocks(need) -> Start:
    program = need("microsocks", "apt-get install microsocks, or make test-peers")

    def start(*options: str) -> AbstractAsyncContextManager[int]:
        port = free_port()
        return _listening(port, program, "-i", LOCAL, "-p", str(port), *options)

    return start


@pytest.fixture
def tinyproxy(need, tmp_path: Path) -> Start:
    program = need("tinyproxy", "apt-get install tinyproxy, or make test-peers")

    def start(*options: str) -> AbstractAsyncContextManager[int]:
        port, settings = free_port(), tmp_path / "tinyproxy.conf"
        settings.write_text("\n".join([f"Port {port}", f"Listen {LOCAL}", "Timeout 60", *options, ""]))
        return _listening(port, program, "-d", "-c", settings)

    return start


@pytest.fixture
def dante(need, tmp_path: Path) -> Start:
    program = need("danted", "apt-get install dante-server, or make test-peers")

    def start(*rules: str, password: bool = False) -> AbstractAsyncContextManager[int]:
        port, settings = free_port(), tmp_path / "danted.conf"
        lines = [
            "logoutput: /dev/null",
            f"internal: {LOCAL} port = {port}",
            "external: lo",
            "clientmethod: none",
            f"socksmethod: {'username' if password else 'none'}",
            "user.privileged: root",
            "user.unprivileged: nobody",
            "client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }",
            *rules,
            "socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }",
            "",
        ]
        if os.geteuid() != 0:
            lines = [line for line in lines if not line.startswith("user.")]
        settings.write_text("\n".join(lines))
        return _listening(port, program, "-f", settings, env=_accounts(tmp_path, need) if password else {})

    return start


def _accounts(folder: Path, need: Callable[[str, str], Path]) -> dict[str, str]:
    """Return the variables by which a program sees USER, with PASSWORD, and few others."""
    library = next(iter(glob.glob("/usr/lib/*/libnss_wrapper.so")), "")
    if not library:
        need("libnss_wrapper.so", "apt-get install libnss-wrapper, or make test-peers")  # which ends the test
    if os.geteuid() != 0:
        pytest.skip("dante looks at passwords only as root")
    mixed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True).stdout
    files = {
        "PASSWD": "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n" + f"{USER}:x:1999:1999::/:/bin/sh\n",
        "GROUP": f"root:x:0:\nnogroup:x:65534:\n{USER}:x:1999:\n",
        "SHADOW": "".join(
            f"{name}:{word}:19000:0:99999:7:::\n" for name, word in [("nobody", "*"), (USER, mixed.strip())]
        ),
    }
    variables = {"LD_PRELOAD": library}
    for name, text in files.items():
        path = folder / name.lower()
        path.write_text(text)
        variables[f"NSS_WRAPPER_{name}"] = str(path)
    return variables


@pytest.fixture
def ssh(need, tmp_path: Path) -> Start:
    server = need("sshd", "apt-get install openssh-server, or make test-peers")
    client = need("ssh", "apt-get install openssh-client, or make test-peers")

    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it gives up its rights; a service makes it
    keys = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys], check=True)
    settings = tmp_path / "sshd_config"
    known = [f"HostKey {keys}", f"AuthorizedKeysFile {keys}.pub", "PidFile none", "StrictModes no", "UsePAM no"]
    settings.write_text("\n".join([*known, "PermitRootLogin prohibit-password", ""]))
    trust = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]

    @asynccontextmanager
    async def start() -> AsyncIterator[int]:
        at, port = free_port(), free_port()
        serving = (server, "-D", "-e", "-f", settings, "-p", str(at), "-o", f"ListenAddress={LOCAL}")
        dialling = (client, "-F", "none", "-q", "-N", "-D", f"{LOCAL}:{port}", "-i", keys, "-p", str(at), *trust, LOCAL)
        async with _listening(at, *serving), _listening(port, *dialling):
            yield port

    return start
