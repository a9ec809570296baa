# SPDX-License-Identifier: MIT
"""What is said to proxies before the tunnel stands: SOCKS and HTTP CONNECT, without I/O.

Loaded only by those who dial through a proxy.
"""

from tieline.wire.proxies.datagrams import relay_address, unwrapped, wrapped
from tieline.wire.proxies.detection import detection
from tieline.wire.proxies.dialogue import Dialogue
from tieline.wire.proxies.http_connect import HTTPConnect
from tieline.wire.proxies.socks4 import SOCKS4, SOCKS4a
from tieline.wire.proxies.socks5 import SOCKS5, SOCKS5Associate, SOCKS5Greeting, SOCKS5Resolve, SOCKS5ResolvePTR
from tieline.wire.proxies.survey import ProxyFinding, ProxyReport, survey

__all__ = [
    "SOCKS4",
    "SOCKS5",
    "Dialogue",
    "HTTPConnect",
    "ProxyFinding",
    "ProxyReport",
    "SOCKS4a",
    "SOCKS5Associate",
    "SOCKS5Greeting",
    "SOCKS5Resolve",
    "SOCKS5ResolvePTR",
    "detection",
    "relay_address",
    "survey",
    "unwrapped",
    "wrapped",
]
