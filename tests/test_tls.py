# SPDX-License-Identifier: MIT
"""endpoints/tls.py and endpoints/contexts.py: what can be a TLS setting, and what the contexts made of it let through.

Handshakes happen in memory here. tests/rpc/test_tls.py has them over sockets.
"""

import hashlib
import ssl
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.certificates import Certificates
from tieline import TCP, TLS, UnixStream
from tieline.endpoints.tls import check_tls_to_serve

SECRET = "correct horse"
WRONG = "battery staple"


def client_context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def server_context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


# --- the value -------------------------------------------------------------------------------------------------------

# (arguments, error, its text)
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"context": True}, TypeError, "context must be an ssl.SSLContext, not bool"),
    ({"certificate": b"a.pem"}, TypeError, "certificate must be a str, not bytes"),
    ({"certificate": ""}, ValueError, "certificate must be the path of a file, not ''"),
    ({"certificate": "a\0b"}, ValueError, "certificate must be the path of a file"),
    ({"certificate": "-----BEGIN CERTIFICATE-----\n"}, ValueError, "path of a PEM file, not the text of one"),
    ({"certificate": 5}, TypeError, "int"),
    ({"key": "key.pem"}, ValueError, "a key goes with a certificate: none is given"),
    ({"password": SECRET}, ValueError, "a password goes with a certificate: none is given"),
    ({"certificate": "a.pem", "password": 5}, TypeError, "password must be a str, bytes or a callable, not int"),
    ({"ca": b"ca.pem"}, TypeError, "ca must be a str, not bytes"),
    ({"ca": ""}, ValueError, "ca must be the path"),
    ({"client_certificate_optional": True}, ValueError, "client_certificate_optional needs ca"),
    ({"alpn": "h2"}, TypeError, "several names in a tuple, not one str"),
    ({"alpn": (b"h2",)}, TypeError, "a name of alpn must be a str, not bytes"),
    ({"alpn": ("",)}, ValueError, "1 to 255 ASCII characters, not ''"),
    ({"alpn": ("x" * 256,)}, ValueError, "1 to 255 ASCII characters"),
    ({"alpn": ("ü",)}, ValueError, "1 to 255 ASCII characters"),
    ({"server_hostname": 5}, TypeError, "must be a str, not int"),
    ({"server_hostname": 0}, TypeError, "server_hostname must be a str, not int"),
    ({"server_hostname": "a b"}, ValueError, "spaces"),
    ({"server_hostname": "a..b"}, ValueError, "not a valid name"),
    ({"server_hostname": "[::1]"}, ValueError, "without brackets"),
    (
        {"context": client_context(), "ca": "ca.pem", "alpn": ("h2",)},
        ValueError,
        "context excludes ca, alpn: it is ready-made",
    ),
    (
        {"context": server_context(), "certificate": "a.pem", "key": "b.pem", "password": SECRET},
        ValueError,
        "context excludes certificate, key, password: it is ready-made",
    ),
    ({"context": client_context(), "server_hostname": ""}, ValueError, "set its check_hostname to False"),
]


@pytest.mark.row("D6", "H69")
@pytest.mark.parametrize(("arguments", "error", "text"), BAD)
def test_impossible_settings_cannot_be_made(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        TLS(**arguments)
    assert SECRET not in str(caught.value)


@pytest.mark.row("D6")
def test_settings_are_values_to_compare_to_change_and_to_look_things_up_with(tmp_path: Path) -> None:
    tls = TLS(certificate=tmp_path / "a.pem", alpn=["a", "b"], password=lambda: SECRET)
    assert tls.certificate == str(tmp_path / "a.pem")
    assert tls.alpn == ("a", "b")
    assert replace(tls, alpn=()) != tls
    assert {TCP("a", 1, tls=tls): 1}[TCP("a", 1, tls=replace(tls))] == 1
    assert TCP("a", 1, tls=TLS()) != TCP("a", 1)
    assert UnixStream("a", tls=TLS()).url == "unix:a"

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]  # what a class with __eq__ has

        def __call__(self) -> str:
            return SECRET

    hash(TLS(certificate="a.pem", password=Unhashable()))


@pytest.mark.row("H80")
@pytest.mark.parametrize("password", [SECRET, SECRET.encode(), lambda: SECRET])
def test_no_representation_shows_the_password_or_long_texts(password: Any) -> None:
    tls = TLS(certificate="a.pem", password=password, ca=f"-----BEGIN PRIVATE KEY-----{SECRET}", alpn=("x",))
    assert repr(tls) == str(tls) == "TLS(certificate='a.pem', password='***', ca='PEM text', alpn=('x',))"
    endpoint = TCP("a", 1, tls=tls)
    assert SECRET not in repr(endpoint) + str(endpoint) + endpoint.url
    assert repr(TLS()) == "TLS()"


# (settings, host that is dialled, name to match)
NAMES: list[tuple[dict[str, Any], str | None, str | None]] = [
    ({}, "host.example", "host.example"),
    ({}, "host.example.", "host.example"),
    ({}, "127.0.0.1", "127.0.0.1"),
    ({}, "fe80::1%eth0", "fe80::1"),
    ({"server_hostname": "other.example."}, "host.example", "other.example"),
    ({"server_hostname": "other.example"}, None, "other.example"),
    ({"server_hostname": ""}, "host.example", None),
    ({"server_hostname": ""}, None, None),
    ({"context": server_context()}, None, None),  # a context that matches no names
    ({"context": server_context()}, "host.example", "host.example"),  # and still is told which one to ask for
]


@pytest.mark.row("H69")
@pytest.mark.parametrize(("settings", "host", "name"), NAMES)
def test_the_name_to_match_is_the_host_s_or_the_given_one(
    settings: dict[str, Any], host: str | None, name: str | None
) -> None:
    assert TLS(**settings).name_for(host) == name


@pytest.mark.row("H69")
@pytest.mark.parametrize("settings", [{}, {"context": client_context()}])
def test_without_any_name_matching_is_not_left_out_silently(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give server_hostname"):
        TLS(**settings).name_for(None)


# --- contexts --------------------------------------------------------------------------------------------------------


@pytest.mark.row("D6")
def test_contexts_begin_at_tls_1_2_and_check_names(certificates: Certificates) -> None:
    client = TLS().client_context()
    server = TLS(certificate=certificates.server).server_context()
    assert client.minimum_version == server.minimum_version == ssl.TLSVersion.TLSv1_2
    assert (client.check_hostname, client.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert (server.check_hostname, server.verify_mode) == (False, ssl.CERT_NONE)
    assert server.options & ssl.OP_NO_RENEGOTIATION
    assert client.verify_flags == ssl.create_default_context().verify_flags  # stricter from Python 3.13 on
    unmatched = TLS(server_hostname="").client_context()
    assert (unmatched.check_hostname, unmatched.verify_mode) == (False, ssl.CERT_REQUIRED)


@pytest.mark.row("D6")
def test_a_ready_made_context_is_used_as_it_is_on_its_own_side() -> None:
    client, server = client_context(), server_context()
    assert TLS(context=client).client_context() is client
    assert TLS(context=server).server_context() is server
    with pytest.raises(ValueError, match="a client needs a context for clients"):
        TLS(context=server).client_context()
    with pytest.raises(ValueError, match="a server needs a context for servers"):
        TLS(context=client).server_context()


@pytest.mark.row("D6")
def test_a_server_without_a_certificate_is_refused(certificates: Certificates) -> None:
    for check in (check_tls_to_serve, TLS.server_context):
        with pytest.raises(ValueError, match="a TLS server needs a certificate"):
            check(TLS(ca=certificates.ca))
    for fine in (None, TLS(context=server_context()), TLS(certificate="a.pem")):
        check_tls_to_serve(fine)


def handshake(client: TLS, server: TLS, host: str = "host.example") -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Shake hands in memory and return both ends, or raise what the first of them raises."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.client_context().wrap_bio(back, there, server_hostname=client.name_for(host))
    theirs = server.server_context().wrap_bio(there, back, server_side=True)
    waiting = [ours, theirs]
    for _ in range(9):
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
        if not waiting:
            return ours, theirs
    raise AssertionError("the handshake did not end")


def hashed_name(pem: bytes) -> str:
    """Return the name that `openssl rehash` gives a certificate: a hash of its subject, in lower case."""
    rdns = b""
    for rdn in x509.load_pem_x509_certificate(pem).subject.rdns:
        pairs = b""
        for one in rdn:
            (oid,) = [bytes([3, 85, 4, int(one.oid.dotted_string.rpartition(".")[2])])]
            value = str(one.value).lower().encode()
            pair = b"\x06" + oid + b"\x0c" + bytes([len(value)]) + value
            pairs += b"\x30" + bytes([len(pair)]) + pair
        rdns += b"\x31" + bytes([len(pairs)]) + pairs
    return f"{struct.unpack('<I', hashlib.sha1(rdns).digest()[:4])[0]:08x}.0"


def as_file(certificates: Certificates, _folder: Path) -> str:
    return certificates.ca


def as_folder(certificates: Certificates, folder: Path) -> Path:
    pem = Path(certificates.ca).read_bytes()
    (folder / hashed_name(pem)).write_bytes(pem)
    return folder


def as_text(certificates: Certificates, _folder: Path) -> str:
    return "Größte Zertifizierungsstelle\n" + Path(certificates.ca).read_text(encoding="ascii")


@pytest.mark.row("D6")
@pytest.mark.parametrize("form", [as_file, as_folder, as_text])
def test_authorities_come_as_a_file_a_folder_or_a_text_on_both_sides(
    certificates: Certificates, tmp_path: Path, form: Callable[[Certificates, Path], Any]
) -> None:
    ca = form(certificates, tmp_path)
    client = TLS(ca=ca, certificate=certificates.client)
    ours, theirs = handshake(client, TLS(ca=ca, certificate=certificates.server))
    shown = theirs.getpeercert()
    assert shown is not None
    assert shown["subjectAltName"] == (("email", "ann@client.example"),)
    assert ours.version() == "TLSv1.3"


# (who shows what, whom the client dials, what the client says)
REFUSED = [
    ("server", "elsewhere.example", "Hostname mismatch, certificate is not valid for 'elsewhere.example'"),
    ("server", "127.0.0.2", "IP address mismatch, certificate is not valid for '127.0.0.2'"),
    ("stranger", "host.example", "unable to get local issuer certificate"),
    ("expired", "host.example", "certificate has expired"),
]


@pytest.mark.row("H69")
@pytest.mark.parametrize(("shown", "host", "text"), REFUSED)
def test_a_client_refuses_wrong_names_strangers_and_what_has_expired(
    certificates: Certificates, shown: str, host: str, text: str
) -> None:
    server = TLS(certificate=getattr(certificates, shown))
    with pytest.raises(ssl.SSLCertVerificationError, match=text):
        handshake(TLS(ca=certificates.ca), server, host)


@pytest.mark.row("H69")
def test_the_given_authorities_are_the_only_ones_and_the_default_are_the_system_s(certificates: Certificates) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate"):
        handshake(TLS(), TLS(certificate=certificates.server))
    given = TLS(ca=certificates.ca).client_context()
    assert len(given.get_ca_certs()) == 1
    assert TLS().client_context().cert_store_stats() == ssl.create_default_context().cert_store_stats()


@pytest.mark.row("H69")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "host.example."])
def test_a_certificate_is_good_for_the_names_and_addresses_in_it(certificates: Certificates, host: str) -> None:
    handshake(TLS(ca=certificates.ca), TLS(certificate=certificates.server), host)


@pytest.mark.row("H69")
def test_matching_is_off_only_for_an_empty_name_and_signatures_still_count(certificates: Certificates) -> None:
    careless = TLS(ca=certificates.ca, server_hostname="")
    handshake(careless, TLS(certificate=certificates.server), "elsewhere.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate"):
        handshake(careless, TLS(certificate=certificates.stranger), "elsewhere.example")


@pytest.mark.row("D6")
@pytest.mark.parametrize("optional", [False, True])
def test_a_server_with_authorities_asks_for_a_certificate_that_they_signed(
    certificates: Certificates, optional: bool
) -> None:
    server = TLS(certificate=certificates.server, ca=certificates.ca, client_certificate_optional=optional)
    _, theirs = handshake(TLS(ca=certificates.ca, certificate=certificates.client), server)
    assert theirs.getpeercert()
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        handshake(TLS(ca=certificates.ca, certificate=certificates.stranger), server)
    if optional:
        _, theirs = handshake(TLS(ca=certificates.ca), server)
        assert theirs.getpeercert() is None
    else:
        with pytest.raises(ssl.SSLError, match="peer did not return a certificate"):
            handshake(TLS(ca=certificates.ca), server)


@pytest.mark.row("D6")
@pytest.mark.parametrize(("ours", "agreed"), [(("b", "a"), "a"), (("b",), "b"), (("c",), None), ((), None)])
def test_the_server_s_order_decides_on_the_protocol(
    certificates: Certificates, ours: tuple[str, ...], agreed: str | None
) -> None:
    server = TLS(certificate=certificates.server, alpn=("a", "b"))
    ends = handshake(TLS(ca=certificates.ca, alpn=ours), server)
    assert [end.selected_alpn_protocol() for end in ends] == [agreed, agreed]


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(certificates: Certificates, tmp_path: Path) -> dict[str, str]:
    """Give the paths of files, good and bad."""
    issued = certificates.authority.issue_cert("host.example")
    pem = issued.private_key_pem.bytes()
    key = serialization.load_pem_private_key(pem, None)
    sealed = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(SECRET.encode()),
    )
    chain = b"".join(one.bytes() for one in issued.cert_chain_pems)
    texts = {
        "chain": chain,
        "key": pem,
        "sealed": sealed,
        "both": chain + sealed,
        "garbage": b"not a certificate",
        "broken": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "broken_key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / "folder").mkdir()
    return {name: str(tmp_path / name) for name in [*texts, "folder", "missing"]}


@pytest.mark.row("D6")
@pytest.mark.parametrize("password", [SECRET, SECRET.encode(), lambda: SECRET])
def test_an_encrypted_key_is_opened_by_its_password(files: dict[str, str], password: Any) -> None:
    TLS(certificate=files["both"], password=password).server_context()
    TLS(certificate=files["chain"], key=files["sealed"], password=password).client_context()


@pytest.mark.row("D6")
def test_a_password_for_a_key_that_needs_none_does_no_harm(files: dict[str, str]) -> None:
    TLS(certificate=files["chain"], key=files["key"], password=SECRET).server_context()


# (settings by the names of files, error, its text)
BAD_FILES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"certificate": "missing"}, FileNotFoundError, "missing'"),
    ({"certificate": "chain", "key": "missing"}, FileNotFoundError, "missing'"),
    ({"certificate": "folder"}, IsADirectoryError, "folder'"),
    ({"certificate": "garbage"}, ValueError, "there is no PEM certificate in '.*garbage'"),
    ({"certificate": "key"}, ValueError, "there is no PEM certificate in '.*key'"),
    ({"certificate": "chain"}, ValueError, "there is no PEM private key in '.*chain'; is it in another file"),
    ({"certificate": "chain", "key": "garbage"}, ValueError, "there is no PEM private key in '.*garbage'$"),
    ({"certificate": "broken", "key": "key"}, ValueError, "'.*broken' and the key in '.*key' cannot be used"),
    ({"certificate": "chain", "key": "broken_key"}, ValueError, "'.*chain' and the key in '.*broken_key' cannot be"),
    ({"certificate": "server", "key": "key"}, ValueError, "key in '.*key' does not match the certificate in"),
    ({"certificate": "both"}, ValueError, "the key in '.*both' is encrypted: give its password"),
    ({"certificate": "both", "password": WRONG}, ValueError, "the password does not open the key in '.*both'"),
    ({"certificate": "both", "password": WRONG.encode}, ValueError, "the password does not open the key in"),
    ({"certificate": "both", "password": lambda: 5}, TypeError, "must return a string"),
    ({"certificate": "both", "password": dict[str, str]().popitem}, KeyError, "dictionary is empty"),
    ({"certificate": "server", "ca": "missing"}, FileNotFoundError, "missing'"),
    ({"certificate": "server", "ca": "garbage"}, ValueError, "ca: there is no PEM certificate in the file '.*garbage'"),
    ({"certificate": "server", "ca": "key"}, ValueError, "ca: there is no PEM certificate in the file '.*key'"),
    ({"certificate": "server", "ca": "broken"}, ValueError, "ca: there is no PEM certificate in the file '.*broken'"),
    ({"certificate": "server", "ca": "folder"}, ValueError, "no file in the folder '.*folder' is named by hash"),
    ({"certificate": "server", "ca": "-----BEGIN X-----"}, ValueError, "ca: there is no PEM certificate in the PEM"),
]


@pytest.mark.row("D6", "H80")
@pytest.mark.parametrize(("settings", "error", "text"), BAD_FILES)
@pytest.mark.parametrize("side", [TLS.client_context, TLS.server_context])
def test_what_is_wrong_with_a_file_is_said_with_its_path(
    certificates: Certificates,
    files: dict[str, str],
    settings: dict[str, Any],
    error: type[Exception],
    text: str,
    side: Callable[[TLS], ssl.SSLContext],
) -> None:
    paths = files | {"server": certificates.server}
    settings = {name: paths.get(value, value) if isinstance(value, str) else value for name, value in settings.items()}
    with pytest.raises(error, match=text) as caught:
        side(TLS(**settings))
    assert WRONG not in str(caught.value)


# --- contexts are kept -----------------------------------------------------------------------------------------------


@pytest.mark.row("D6")
def test_a_client_that_reconnects_reads_the_authorities_once_until_they_change(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(Path(certificates.ca).read_bytes())
    first = TLS(ca=ca).client_context()
    assert TLS(ca=str(ca), server_hostname="other.example").client_context() is first
    others = [TLS(ca=ca, alpn=("x",)), TLS(ca=ca, server_hostname=""), TLS(), TLS(ca=certificates.ca)]
    assert len({id(each.client_context()) for each in [TLS(ca=ca), *others]}) == 5

    ca.write_bytes(Path(certificates.ca).read_bytes() + b"\n")
    second = TLS(ca=ca).client_context()
    assert second is not first
    assert TLS(ca=ca).client_context() is second

    default = TLS().client_context()
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nowhere"))
    assert TLS().client_context() is not default
    assert len(TLS().client_context().get_ca_certs()) == 1


@pytest.mark.row("D6", "H80")
def test_a_context_with_a_key_is_not_kept(certificates: Certificates) -> None:
    tls = TLS(certificate=certificates.client, ca=certificates.ca)
    assert tls.client_context() is not tls.client_context()
    assert tls.server_context() is not tls.server_context()
