# SPDX-License-Identifier: MIT
"""`tieline proxy-check`: what a proxy is, and what it can do."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import typer

import tieline
from tieline.cli.exits import Exit, Failure
from tieline.cli.failures import not_connected
from tieline.cli.options import JSONOption
from tieline.cli.proxies import one_proxy
from tieline.cli.showing import as_json, line, out

__all__ = ["proxy_check"]

_SCHEMES: Final = {"socks5": "SOCKS5", "socks4a": "SOCKS4a", "socks4": "SOCKS4", "http": "HTTP CONNECT"}
_ANSWERS: Final = {True: "yes", False: "no", None: "unknown"}
_ABILITIES: Final = {
    "open": "without a password",
    "password": "with a password",
    "names": "looks names up",
    "ipv6": "IPv6 targets",
    "udp": "UDP",
}


def proxy_check(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="socks5://, socks4a://, socks4://, http://HOST:PORT, with USER:PASSWORD@ before the host if it wants "
            "that; or env, for what ALL_PROXY names.",
            show_default=False,
        ),
    ],
    timeout: Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="For each test.")] = 3.0,
    json: JSONOption = False,
) -> None:
    """Find out what a proxy supports: protocols, authentication, names, IPv6, UDP.

    The proxy is asked to connect to itself, so no other network is needed. User name and password are sent only in the
    protocol of the URL, and never shown. Some proxies do not answer requests in other protocols: finding that out takes
    as long as --timeout.

    Examples:

        tieline proxy-check socks5://127.0.0.1:9050
        tieline proxy-check http://ann:secret@proxy.example:3128 --timeout 10
        tieline proxy-check env --json

    Exit codes:

    {exit codes}
    """
    proxy = one_proxy(url)
    try:
        report = asyncio.run(tieline.check_proxy(proxy, timeout=timeout))
    except OSError as exc:
        raise not_connected(exc, str(proxy), is_proxied=True) from exc
    if json:
        out(as_json(_object(proxy, report)))
    else:
        for text in _table(proxy, report):
            out(text)
    _judge(proxy, report)


def _table(proxy: Any, report: tieline.ProxyReport) -> list[str]:
    rows = [("proxy", str(proxy))]
    rows += [(name, _told(finding)) for name, finding in report.protocols.items()]
    if any(map(report.speaks, report.protocols)):
        rows += [(title, _told(getattr(report, name))) for name, title in _ABILITIES.items()]
    width = max(len(title) for title, _ in rows)
    return [f"{title:<{width}}  {line(text)}" for title, text in rows]


def _told(finding: tieline.ProxyFinding) -> str:
    return _ANSWERS[finding.answer] + (f": {finding.reason}" if finding.reason else "")


def _object(proxy: Any, report: tieline.ProxyReport) -> dict[str, Any]:
    found = {name: finding._asdict() for name, finding in report.protocols.items()}
    return {"proxy": str(proxy), "protocols": found} | {name: getattr(report, name)._asdict() for name in _ABILITIES}


def _judge(proxy: Any, report: tieline.ProxyReport) -> None:
    """Fail where it cannot be used as its URL says.

    Raises:
        Failure: It speaks something else, or refuses user name and password.
    """
    named = _SCHEMES[proxy.scheme]
    if not report.speaks(named):
        spoken = [name for name in report.protocols if report.speaks(name)]
        what = f"but {', '.join(spoken)}" if spoken else "nor anything else that a proxy speaks"
        raise Failure(Exit.LOST, f"{proxy} does not speak {named}, {what}")
    if proxy.auth is not None and report.password.answer is False:
        reason = report.password.reason or "it takes none"
        raise Failure(Exit.ANSWERED_ERROR, f"{proxy}: the user name and the password do not serve: {reason}")
    if proxy.auth is None and report.open.answer is False:
        raise Failure(
            Exit.ANSWERED_ERROR, f"{proxy} wants a user name and a password: {proxy.scheme}://USER:PASSWORD@HOST:PORT"
        )
