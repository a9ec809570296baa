# SPDX-License-Identifier: MIT
"""WebSocket for all runtimes: one layer between any transport and any protocol. No runtime is imported."""
