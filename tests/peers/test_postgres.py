# SPDX-License-Identifier: MIT
"""A PostgreSQL server: SSLRequest, "S", and then TLS on the same connection, by `start_tls` of a session."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import tieline
import tieline.blocking
from tests.certificates import Certificates
from tests.peers.postgres_side import PostgresFramer
from tests.peers.programs import free_port
from tieline import TLS, ConnectionLost, LocalProtocolError, RPCError

pytestmark = pytest.mark.peers

USER = "tieline"


def as_nobody_special(folder: Path) -> list[str]:
    """Return what makes a program of PostgreSQL run as its own user, who gets *folder*: as root it refuses to."""
    if os.geteuid():
        return []
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, "postgres", "postgres")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]


@contextmanager
def running_server(programs: Path, certificate: str, *, has_tls: bool) -> Iterator[str]:
    """Make a database in a folder of its own, serve it, and give the URL; nothing is left of it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        pem = Path(shutil.copy(certificate, folder / "server.pem"))
        pem.chmod(0o600)
        user = as_nobody_special(folder)
        made = [*user, str(programs / "initdb"), "-D", f"{name}/data", "-U", USER, "-A", "trust", "--no-sync"]
        subprocess.run([*made, "-E", "UTF8", "--no-locale"], check=True, stdout=subprocess.DEVNULL, cwd=name)
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "ssl": "on" if has_tls else "off",
            "ssl_cert_file": str(pem),
            "ssl_key_file": str(pem),
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        serves = [*user, str(programs / "postgres"), "-D", f"{name}/data", "-p", str(port), *options]
        with subprocess.Popen(serves, stderr=subprocess.PIPE, text=True, cwd=name) as process:
            try:
                assert process.stderr is not None
                said = []
                while "ready to accept connections" not in (line := process.stderr.readline()):
                    said.append(line)
                    assert line, said
                yield f"tcp://127.0.0.1:{port}"
            finally:
                process.terminate()
                process.communicate(timeout=30)


@pytest.fixture(scope="module")
def programs(need: Callable[[str, str], Path]) -> Path:
    """Give the folder of PostgreSQL's programs, which Debian has not put on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return (found[-1] if found else need("initdb", "apt-get install postgresql, or make test-peers")).parent


@pytest.fixture(scope="module")
def url(programs: Path, certificates: Certificates) -> Iterator[str]:
    with running_server(programs, certificates.server, has_tls=True) as found:
        yield found


def checked(told: Any, rows: Any) -> None:
    assert told["server_encoding"] == "UTF8"
    assert rows == [["1", "Grüße"], ["2", "x" * 100_000]]


QUERY = "select 1, 'Grüße' union all select 2, repeat('x', 100000) order by 1"
IS_TLS = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()"


@pytest.mark.row("D6")
async def test_an_ssl_request_and_then_tls_on_the_same_connection(url: str, certificates: Certificates) -> None:
    async with tieline.connect(url, framer=PostgresFramer) as session:
        assert await session.call("ssl_request") == "S"
        await session.start_tls(TLS(ca=certificates.ca))
        told = await session.call("startup", USER, "postgres")
        checked(told, await session.call("query", QUERY))
        assert await session.call("query", IS_TLS) == [["t", "TLSv1.3"]]
        with pytest.raises(RPCError, match='relation "nothing" does not exist'):
            await session.call("query", "select * from nothing")
        with pytest.raises(LocalProtocolError, match="TLS is spoken already"):
            await session.start_tls(TLS(ca=certificates.ca))
        assert await session.call("query", "select 3") == [["3"]]


@pytest.mark.row("D6", "H69")
async def test_a_server_of_strangers_is_not_talked_to(url: str, certificates: Certificates, tmp_path: Path) -> None:
    async with tieline.connect(url, framer=PostgresFramer) as session:
        assert await session.call("ssl_request") == "S"
        with pytest.raises(OSError, match=r"cannot start TLS with .*certificate verify failed"):
            await session.start_tls(TLS(ca=certificates.stranger))
        with pytest.raises(ConnectionLost):
            await session.call("startup", USER, "postgres")


async def test_a_server_without_tls_says_n_and_goes_on_in_plain_text(
    programs: Path, certificates: Certificates
) -> None:
    with running_server(programs, certificates.server, has_tls=False) as url:
        async with tieline.connect(url, framer=PostgresFramer) as session:
            assert await session.call("ssl_request") == "N"
            told = await session.call("startup", USER, "postgres")
            checked(told, await session.call("query", QUERY))


@pytest.mark.row("D6")
def test_so_it_goes_in_blocking_code(url: str, certificates: Certificates) -> None:
    with tieline.blocking.connect(url, framer=PostgresFramer) as session:
        assert session.call("ssl_request") == "S"
        session.start_tls(TLS(ca=certificates.ca))
        told = session.call("startup", USER, "postgres")
        checked(told, session.call("query", QUERY))
        assert session.call("query", IS_TLS) == [["t", "TLSv1.3"]]
        with pytest.raises(RPCError, match='relation "nothing" does not exist'):
            session.call("query", "select * from nothing")
    with tieline.blocking.connect(url, framer=PostgresFramer) as session:
        assert session.call("ssl_request") == "S"
        with pytest.raises(OSError, match="certificate verify failed"):
            session.start_tls(TLS(ca=certificates.stranger))
