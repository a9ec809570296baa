# SPDX-License-Identifier: MIT
"""Sessions, servers and methods: what users of calls touch."""
