# SPDX-License-Identifier: MIT
"""Whom our client trusts: certificates of all kinds, shown by `openssl s_server`."""

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import tieline
from tests import aio
from tests.certificates import Certificates
from tests.peers.openssl_programs import s_server
from tieline import TLS

pytestmark = pytest.mark.peers


@pytest.fixture(scope="session")
def own_certificate(openssl: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Give `own_certificate(*extensions)`: the path of a certificate that is signed by itself, and of its key."""

    def make(*extensions: str) -> str:
        folder = tmp_path_factory.mktemp("own")
        command = [str(openssl), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        for extension in extensions:
            command += ["-addext", extension]
        command += ["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "certificate.pem"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        pem = folder / "both.pem"
        pem.write_bytes((folder / "certificate.pem").read_bytes() + (folder / "key.pem").read_bytes())
        return str(pem)

    return make


HERE = "subjectAltName=IP:127.0.0.1,DNS:localhost"


@pytest.mark.row("H69")
async def test_a_certificate_signed_by_itself_is_refused_unless_it_is_the_trusted_one(
    openssl: Path, own_certificate: Callable[..., str]
):
    certificate = own_certificate(HERE)
    async with s_server(openssl, certificate) as (url, _server):
        with pytest.raises(ssl.SSLCertVerificationError, match=f"{url}.*self-signed"):
            await tieline.connect(url).create_connection(nursery=aio.nursery())
        async with tieline.connect(url, tls=TLS(ca=certificate)) as session:
            assert await session.call("echo", 1) == [1]


@pytest.mark.row("H69")
@pytest.mark.parametrize(
    ("extension", "reason"),
    [
        ("extendedKeyUsage=clientAuth", "unsuitable certificate purpose"),
        ("subjectAltName=DNS:elsewhere.example", "IP address mismatch"),
    ],
)
async def test_a_trusted_certificate_may_still_be_for_something_else(
    openssl: Path, own_certificate: Callable[..., str], extension: str, reason: str
):
    certificate = own_certificate(extension, *([] if "Name" in extension else [HERE]))
    async with s_server(openssl, certificate) as (url, _server):
        with pytest.raises(ssl.SSLCertVerificationError, match=f"{url}.*{reason}"):
            await tieline.connect(url, tls=TLS(ca=certificate)).create_connection(nursery=aio.nursery())


# (made out to, dialled, the reason of the refusal; None = accepted)
NAMES: list[tuple[tuple[str, ...], str, str | None]] = [
    (("127.0.0.1",), "127.0.0.1", None),
    (("localhost",), "localhost", None),
    (("::1",), "[::1]", None),
    (("localhost",), "127.0.0.1", "IP address mismatch"),
    (("127.0.0.1",), "localhost", "Hostname mismatch"),
    (("127.0.0.2", "::1"), "127.0.0.1", "IP address mismatch"),
    (("127.0.0.1",), "[::1]", "IP address mismatch"),
    (("localhost.example", "*.localhost"), "localhost", "Hostname mismatch"),
]


@pytest.mark.row("H69")
@pytest.mark.parametrize(("names", "dialled", "reason"), NAMES)
async def test_the_certificate_must_be_made_out_to_what_was_dialled(
    openssl: Path,
    certificates: Certificates,
    tmp_path: Path,
    names: tuple[str, ...],
    dialled: str,
    reason: str | None,
):
    path = tmp_path / "names.pem"
    certificates.authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(path)
    async with s_server(openssl, str(path), host="[::1]" if dialled == "[::1]" else "127.0.0.1") as (url, server):
        session = tieline.connect(f"tls://{dialled}:{url.rpartition(':')[2]}", tls=TLS(ca=certificates.ca))
        if reason is None:
            async with session:
                assert await session.call("echo", 1) == [1]
        else:
            with pytest.raises(ssl.SSLCertVerificationError, match=reason):
                await session.create_connection(nursery=aio.nursery())
            assert await server.says("alert bad certificate")
            assert not server.received


@pytest.mark.row("H69")
@pytest.mark.parametrize(
    ("shown", "reason"), [("expired", "certificate has expired"), ("stranger", "unable to get local issuer")]
)
async def test_certificates_that_are_past_or_of_strangers_are_refused(
    openssl: Path, certificates: Certificates, shown: str, reason: str
):
    async with s_server(openssl, getattr(certificates, shown)) as (url, server):
        with pytest.raises(ssl.SSLCertVerificationError, match=f"{url}.*{reason}"):
            await tieline.connect(url, tls=TLS(ca=certificates.ca)).create_connection(nursery=aio.nursery())
        await server.says("alert certificate expired" if shown == "expired" else "alert unknown ca")
