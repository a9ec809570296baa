# SPDX-License-Identifier: MIT
"""Certificates for tests, made once a run: the fixture `certificates` of conftest.py gives them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import trustme

NAMES = ("localhost", "127.0.0.1", "::1", "host.example")


@dataclass
class Certificates:
    """Paths of PEM files in *folder*, made when they are first asked for.

    Those of a side hold certificate and key in one file.
    """

    folder: Path

    @cached_property
    def authority(self) -> trustme.CA:
        return trustme.CA()

    @cached_property
    def ca(self) -> str:
        """The authority that signed all but `stranger`."""
        path = self.folder / "ca.pem"
        self.authority.cert_pem.write_to_path(path)
        return str(path)

    @cached_property
    def server(self) -> str:
        """A server's, made out to `NAMES`."""
        return self._written("server", self.authority.issue_cert(*NAMES))

    @cached_property
    def client(self) -> str:
        """A client's."""
        return self._written("client", self.authority.issue_cert("ann@client.example"))

    @cached_property
    def expired(self) -> str:
        """A server's that was valid until yesterday."""
        now = datetime.now(UTC)
        issued = self.authority.issue_cert(
            *NAMES, not_before=now - timedelta(days=9), not_after=now - timedelta(days=1)
        )
        return self._written("expired", issued)

    @cached_property
    def stranger(self) -> str:
        """One made out to `NAMES` that an authority has signed which nobody knows."""
        return self._written("stranger", trustme.CA().issue_cert(*NAMES))

    def _written(self, name: str, issued: trustme.LeafCert) -> str:
        path = self.folder / f"{name}.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(path)
        return str(path)
