# SPDX-License-Identifier: MIT
"""The only I/O: one folder a runtime, and beside them what runtimes share.

The folders ``asyncio``, ``trio`` and ``blocking`` offer the same names in equal file names, so that a diff of twins is
a review, and never import each other. The files beside them import no runtime. Rules that bytes and time decide live
one floor down, in ``wire``.
"""
