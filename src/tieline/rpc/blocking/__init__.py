# SPDX-License-Identifier: MIT
"""Sessions and servers for blocking code."""
