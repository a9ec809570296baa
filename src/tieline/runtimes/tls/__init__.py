# SPDX-License-Identifier: MIT
"""TLS for all runtimes: one layer between any transport and any protocol.

`Records` is TLS without I/O, `TLSLayer` the piece in between. Neither imports a runtime.
"""
