# SPDX-License-Identifier: MIT
"""From TLS settings to contexts of the standard library, and clear errors about the files on the way.

No text here holds a password or anything out of a key.
The ssl module is loaded when the first context is made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

from tieline.endpoints.checks import is_pem

if TYPE_CHECKING:
    import ssl

__all__ = ["OwnCertificate", "Password", "check_side", "client_context", "server_context"]

Password: TypeAlias = str | bytes | Callable[[], str | bytes]

_T = TypeVar("_T")

# A few, because programs have few kinds of peers, and each holds the system's authorities (about 1 MB).
_KEPT: Final = 8

_HASHED_NAME: Final = r"[0-9a-f]{8}\.[0-9]+"


class OwnCertificate(NamedTuple):
    """What this side shows, and its private key.

    Attributes:
        path: The file with the certificate, and the chain behind it.
        key: The file with the key.
        password: What opens the key, or a function that returns it.
    """

    path: str
    key: str
    password: Password | None


def client_context(
    *, own: OwnCertificate | None, ca: str | None, alpn: tuple[str, ...], matches_names: bool
) -> ssl.SSLContext:
    """Return a context to dial with; see `TLS.client_context`."""
    if own is None:
        return _kept_context(ca, alpn, matches_names, _state_of_authorities(ca))
    context = _new_client_context(ca, alpn, matches_names)
    _load_certificate(context, own)
    return context


def server_context(
    *, own: OwnCertificate, ca: str | None, alpn: tuple[str, ...], lets_in_without: bool
) -> ssl.SSLContext:
    """Return a context to listen with; see `TLS.server_context`."""
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _restrict(context, alpn)
    # A client that asks for new keys over and over costs a server far more than itself; TLS 1.3 has no such thing.
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load_certificate(context, own)
    if ca is not None:
        _reading_authorities(ca, context.load_verify_locations)
        context.verify_mode = ssl.CERT_OPTIONAL if lets_in_without else ssl.CERT_REQUIRED
    return context


def check_side(context: ssl.SSLContext, *, is_server: bool) -> ssl.SSLContext:
    """Return a ready-made *context*, if it is one for this side.

    Raises:
        ValueError: It is for the other side.
    """
    import ssl

    if is_server and context.protocol == ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError("a server needs a context for servers, and this one is for clients (PROTOCOL_TLS_CLIENT)")
    if not is_server and context.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ValueError("a client needs a context for clients, and this one is for servers (PROTOCOL_TLS_SERVER)")
    return context


@lru_cache(maxsize=_KEPT)
def _kept_context(ca: str | None, alpn: tuple[str, ...], matches_names: bool, _state: object) -> ssl.SSLContext:
    """Return a context without secrets; the same one again for as long as the files behind it are in this *_state*."""
    return _new_client_context(ca, alpn, matches_names)


def _new_client_context(ca: str | None, alpn: tuple[str, ...], matches_names: bool) -> ssl.SSLContext:
    import ssl

    # With any authorities given, the system's are not loaded.
    make = ssl.create_default_context
    context = make() if ca is None else _reading_authorities(ca, make)
    _restrict(context, alpn)
    context.check_hostname = matches_names
    context.hostname_checks_common_name = False  # RFC 9525, section 2: names are in subjectAltName
    return context


def _restrict(context: ssl.SSLContext, alpn: tuple[str, ...]) -> None:
    import ssl

    if context.minimum_version < ssl.TLSVersion.TLSv1_2:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols(list(alpn))


# --- authorities -----------------------------------------------------------------------------------------------------


def _state_of_authorities(ca: str | None) -> object:
    """Return what is different as soon as other authorities would be read.

    Raises:
        OSError: The given file or folder cannot be looked at.
    """
    import ssl

    if ca is not None:
        return None if is_pem(ca) else _state_of(ca)
    paths = ssl.get_default_verify_paths()  # asks the environment each time
    return tuple(_state_of(path) for path in (paths.cafile, paths.capath) if path)  # None where there is no such file


def _state_of(path: str) -> tuple[object, ...]:
    found = os.stat(path)
    return (path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _reading_authorities(ca: str, read: Callable[..., _T]) -> _T:
    """Call *read* with the authorities in *ca*, as the standard library's functions take them."""
    import ssl

    if is_pem(ca):
        # People write names in other scripts between the certificates, and the standard library takes ASCII only.
        what, arguments = "the PEM text", {"cadata": ca.encode("ascii", "ignore").decode()}
    elif os.path.isdir(ca):
        if not any(re.fullmatch(_HASHED_NAME, name) for name in os.listdir(ca)):
            raise ValueError(f"no file in the folder {ca!r} is named by hash, as OpenSSL needs it: openssl rehash it")
        what, arguments = f"the folder {ca!r}", {"capath": ca}
    else:
        what, arguments = f"the file {ca!r}", {"cafile": ca}
    try:
        return read(**arguments)
    except ssl.SSLError as exc:
        raise ValueError(f"ca: there is no PEM certificate in {what} ({exc.reason or exc})") from exc
    except OSError:
        _open(ca)  # to have the path in the error, which is missing here
        raise


# --- our own certificate ---------------------------------------------------------------------------------------------


def _load_certificate(context: ssl.SSLContext, own: OwnCertificate) -> None:
    """Load the certificate of this side and its key.

    An encrypted key without a password is an error: OpenSSL itself would ask on the terminal and wait.
    """
    import ssl

    certificate, key, given = own
    was_asked = False

    def password() -> str | bytes:
        nonlocal was_asked
        was_asked = True
        if given is None:
            raise ValueError(f"the key in {key!r} is encrypted: give its password")
        return given() if callable(given) else given

    try:
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as exc:
        raise ValueError(_fault_of_files(certificate, key, was_asked, exc)) from exc
    except OSError:
        for path in (certificate, key):
            _open(path)
        raise


def _fault_of_files(certificate: str, key: str, was_asked: bool, error: ssl.SSLError) -> str:
    """Return what is wrong, in words. OpenSSL's own are often no more than where in its code it gave up."""
    if b"CERTIFICATE-----" not in _open(certificate):
        return f"there is no PEM certificate in {certificate!r}"
    if b"PRIVATE KEY-----" not in _open(key):
        return f"there is no PEM private key in {key!r}" + ("; is it in another file?" if key == certificate else "")
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key in {key!r} does not match the certificate in {certificate!r}"
    if was_asked:
        return f"the password does not open the key in {key!r}"
    return f"the certificate in {certificate!r} and the key in {key!r} cannot be used ({error.reason or error})"


def _open(path: str) -> bytes:
    """Return what is in the file.

    Raises:
        OSError: It cannot be read; the error names it, which errors of the ssl module do not.
    """
    with open(path, "rb") as file:
        return file.read()
