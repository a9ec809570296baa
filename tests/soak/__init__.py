# SPDX-License-Identifier: MIT
"""A server in a process of its own that honest and hostile clients use for a long time, while a ledger is kept."""
