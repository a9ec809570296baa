# SPDX-License-Identifier: MIT
"""The keys that the attacked process and an honest peer of it share; the attackers of cases 74 and 76 have others."""

from __future__ import annotations

import base64

__all__ = ["PICKLE_KEY", "SEAL"]

PICKLE_KEY = b"a key of 16 byte"
SEAL = base64.urlsafe_b64encode(b"32 bytes that nobody need guess.")
