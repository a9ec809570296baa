# SPDX-License-Identifier: MIT
"""TLS for all runtimes: one layer between any transport and any protocol.

`Records` is TLS without I/O, `TLSLayer` the piece in between. Neither imports a runtime.
"""

from tieline.runtimes.tls.layer import TLSLayer
from tieline.runtimes.tls.records import Records

__all__ = ["Records", "TLSLayer"]
