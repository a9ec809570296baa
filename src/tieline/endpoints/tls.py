# SPDX-License-Identifier: MIT
"""TLS settings as a frozen value, and the contexts that they make.

Whoever dials or listens asks the value for a context before any I/O, so that a bad file fails at once. What is done
with a context, and on which connection, is for the runtimes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tieline.endpoints.checks import check_bool, check_host, check_text, is_pem
from tieline.wire.values import dataclass

if TYPE_CHECKING:
    import ssl

    from tieline.endpoints.contexts import OwnCertificate, Password

__all__ = ["TLS", "check_tls", "check_tls_to_serve"]

_NO_CERTIFICATE: Final = "a TLS server needs a certificate: TLS(certificate=...), or a context that has one"


@dataclass(frozen=True, kw_only=True, slots=True)
class TLS:
    """TLS settings: how a connection is encrypted, and which certificates are trusted. Passed as ``tls=``.

    `TLS()` is right for a client of a server on the internet: TLS 1.2 or later, and a certificate that is signed by one
    of the system's authorities and names the host that was dialled. A server needs a *certificate*.

    Attributes:
        context: A ready-made ``ssl.SSLContext``, used as it is; it excludes all other settings except server_hostname.
        certificate: The path of this side's certificate, a PEM file with the rest of its chain. A server needs one; a
            client presents it if the server asks for one.
        key: The path of its private key, a PEM file; None = it is in the file of the certificate.
        password: The password of an encrypted key, or a function without arguments that returns it.
        ca: The authorities to trust in place of the system's: the path of a PEM file, the path of a directory of them
            (named by hash, as ``openssl rehash`` does), or PEM text. Nobody else is trusted. On a server, it requires
            certificates of clients, which must be signed by these authorities. None = the system's; a server then asks
            for none.
        client_certificate_optional: On a server with *ca*: also accept clients without a certificate. If they present
            one, these authorities must have signed it.
        alpn: Names of protocols to negotiate (RFC 7301), in order of preference; the server's order decides. If there
            is none in common, the connection goes on without one.
        server_hostname: The name or address that the server's certificate must contain; None = the host that is dialled
            (a Unix socket has none, so it must be given). **Dangerous:** ``""`` turns that check off, and whoever has a
            certificate of a trusted authority can then pose as the server. Dialling only.

    Raises:
        ValueError: Settings that contradict each other, or that no connection can have.
        TypeError: A value of the wrong type.
    """

    context: ssl.SSLContext | None = None
    certificate: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    password: Password | None = None
    ca: str | os.PathLike[str] | None = None
    client_certificate_optional: bool = False
    alpn: Sequence[str] = ()
    server_hostname: str | None = None

    def __post_init__(self) -> None:
        for name in ("certificate", "key", "ca"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _checked_path(name, value))
        object.__setattr__(self, "alpn", _checked_alpn(self.alpn))
        if self.server_hostname:
            check_host(self.server_hostname, "server_hostname")
        elif self.server_hostname is not None:
            check_text("server_hostname", self.server_hostname)
        if self.context is not None:
            self._check_context(self.context)
        if self.certificate is None and (self.key is not None or self.password is not None):
            raise ValueError(f"a {'password' if self.key is None else 'key'} goes with a certificate: none is given")
        if not isinstance(self.password, str | bytes | None) and not callable(self.password):
            raise TypeError(f"password must be a str, bytes or a callable, not {type(self.password).__name__}")
        check_bool("client_certificate_optional", self.client_certificate_optional)
        if self.client_certificate_optional and self.ca is None:
            raise ValueError("client_certificate_optional needs ca: the authorities that sign clients' certificates")

    def _check_context(self, context: object) -> None:
        import ssl

        if not isinstance(context, ssl.SSLContext):
            raise TypeError(f"context must be an ssl.SSLContext, not {type(context).__name__}")
        extra = [name for name in self._settings() if name not in {"context", "server_hostname"}]
        if extra:
            raise ValueError(f"context excludes {', '.join(extra)}: it is ready-made, so set them there")
        if self.server_hostname == "" and context.check_hostname:
            raise ValueError("server_hostname is '', but the context matches names: set its check_hostname to False")

    def _settings(self) -> dict[str, object]:
        """Return what is set, by name."""
        values = {name: getattr(self, name) for name in TLS.__annotations__}
        return {name: value for name, value in values.items() if value not in (None, False, ())}

    def __hash__(self) -> int:
        # Without the password: a callable may have no hash.
        return hash(tuple(getattr(self, name) for name in TLS.__annotations__ if name != "password"))

    def __repr__(self) -> str:
        shown = self._settings()
        if "password" in shown:
            shown["password"] = "***"
        if isinstance(self.ca, str) and is_pem(self.ca):
            shown["ca"] = "PEM text"
        return f"TLS({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def name_for(self, host: str | None) -> str | None:
        """Return the name that a server's certificate must be made out to when *host* is dialled.

        None: names are not matched, and none is sent. *host* is None where there is none, as with Unix sockets.

        Raises:
            ValueError: Names are to be matched, and there is none.
        """
        name = host if self.server_hostname is None else self.server_hostname
        if name:
            # Neither the dot at the end of a full name nor the zone of an address is part of what is certified.
            return name.partition("%")[0].removesuffix(".")
        if name is None and (self.context is None or self.context.check_hostname):
            raise ValueError("there is no host whose name the certificate could be matched with: give server_hostname")
        return None

    def client_context(self) -> ssl.SSLContext:
        """Return the context for dialling. It may be shared with other values: do not change it.

        Reading the system's authorities takes some 20 ms, so a context without a certificate of this side is kept and
        returned again, until the files of its authorities change.

        Raises:
            OSError: A file cannot be read; the error names it.
            ValueError: A file does not hold what it should, or *password* does not open the key, or *context* is
                made for servers.
        """
        from tieline.endpoints import contexts  # lazily: only connections with TLS need it

        if self.context is not None:
            return contexts.check_side(self.context, is_server=False)
        return contexts.client_context(
            own=None if self.certificate is None else self._own(self.certificate),
            ca=None if self.ca is None else str(self.ca),
            alpn=tuple(self.alpn),
            matches_names=self.server_hostname != "",
        )

    def server_context(self) -> ssl.SSLContext:
        """Return the context for listening; a new one each time, so that changed files are used from the next call on.

        Raises:
            OSError: A file cannot be read; the error names it.
            ValueError: There is no certificate, or a file does not hold what it should, or *password* does not open
                the key, or *context* is made for clients.
        """
        from tieline.endpoints import contexts  # lazily, as above

        if self.context is not None:
            return contexts.check_side(self.context, is_server=True)
        if self.certificate is None:
            raise ValueError(_NO_CERTIFICATE)
        return contexts.server_context(
            own=self._own(self.certificate),
            ca=None if self.ca is None else str(self.ca),
            alpn=tuple(self.alpn),
            lets_in_without=self.client_certificate_optional,
        )

    def _own(self, certificate: str | os.PathLike[str]) -> OwnCertificate:
        from tieline.endpoints.contexts import OwnCertificate  # lazily, as above

        path = str(certificate)
        return OwnCertificate(path, path if self.key is None else str(self.key), self.password)


def check_tls(value: object) -> None:
    """Refuse what cannot be the ``tls`` of an endpoint."""
    if value is not None and not isinstance(value, TLS):
        raise TypeError(f"tls of an endpoint must be a TLS value or None, not {type(value).__name__}")


def check_tls_to_serve(tls: TLS | None) -> None:
    """Refuse settings that only a client can use."""
    if tls is not None and tls.context is None and tls.certificate is None:
        raise ValueError(_NO_CERTIFICATE)


def _checked_path(name: str, value: str | os.PathLike[str]) -> str:
    path = os.fspath(value)
    check_text(name, path)
    if is_pem(path):
        if name == "ca":
            return path
        # The text is not repeated: it may be the private key.
        raise ValueError(f"{name} must be the path of a PEM file, not the text of one")
    if not path or "\0" in path:
        raise ValueError(f"{name} must be the path of a file, not {path[:64]!r}")
    return path


def _checked_alpn(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str | bytes):
        raise TypeError(f"alpn must be several names in a tuple, not one {type(names).__name__}")
    names = tuple(names)
    for name in names:
        check_text("a name of alpn", name)
        if not (name.isascii() and 1 <= len(name) <= 255):  # RFC 7301, section 3.1
            raise ValueError(f"a name of alpn must be 1 to 255 ASCII characters, not {name[:64]!r}")
    return names
