# SPDX-License-Identifier: MIT
"""Peers that speak another protocol: told by their first words, before anything of theirs is carried out.

A browser can be made to send an HTTP request to any port, with lines of the attacker's choice in its body; no line of
it may count.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["foreign_line", "foreign_start"]

# RFC 8446, section 5.1: the records that can come first, an alert and a handshake; then the version, 3.x.
_TLS_RECORDS: Final = (b"\x15", b"\x16")

# RFC 9112, sections 3 and 4: a request line or a status line; also the first line of HTTP/2 (RFC 9113, section 3.4).
# A method may be of any of these characters (RFC 9110, section 5.6.2), and blanks are borne as lax servers do.
# Compiled (by re, once) when the first stranger is there.
_HTTP: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]+[^ \t]+[ \t]+HTTP/[0-9]|HTTP/[0-9]"


def foreign_start(data: bytes) -> str | None:
    """Return which protocol a stream that begins with *data* is of, where its first byte tells; else None."""
    return "TLS" if data[:1] in _TLS_RECORDS else None


def foreign_line(line: bytes) -> str | None:
    """Return which protocol a stream with *line* as its first line is of; None when that does not tell."""
    return "HTTP" if re.match(_HTTP, line) else None
