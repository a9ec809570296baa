# SPDX-License-Identifier: MIT
"""`--proxy` of the commands that talk, and `tieline proxy-check`. No password is ever shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.cli.conftest import Served
from tests.cli.programs import CommandLine
from tests.runtimes.scripted_proxies import Good, Scripted, listening, sends, silent
from tests.runtimes.sockets import closed_port

pytestmark = pytest.mark.row("P7")

NAMES = {"shop.example": "127.0.0.1"}
ANN = (b"ann", b"secret")


def url_of(scheme: str, scripted: Scripted, user: str = "") -> str:
    return f"{scheme}://{user}127.0.0.1:{scripted.port}"


def by_name(url: str) -> str:
    return url.replace("127.0.0.1", "shop.example")


# --- --proxy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("call", "{}", "add", "1", "2"), "3\n"),
        (("notify", "{}", "echo", "1"), ""),
        (("methods", "{}"), "add       a: integer, b?: integer"),
        (("listen", "{}", "--call", "news", "chair", "--json"), '{"method":"news","params":["chair"]}\n'),
        (("bench", "{}", "add", "1", "2", "--count", "20", "--json"), '"calls":20'),
        (("top", "{}", "--once", "--json"), '"name":"rpc.statistics"'),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("scheme", ["socks4a", "socks5", "http"])
def test_each_command_that_talks_goes_through_a_proxy(
    tieline: CommandLine, served: Served, scheme: str, words: tuple[str, ...], printed: str
) -> None:
    good = Good(NAMES)
    with listening(good) as scripted:
        done = tieline(*(word.format(by_name(served.tcp)) for word in words), "--proxy", url_of(scheme, scripted))
    assert (done.code, done.err if words[0] != "listen" else "") == (0, "")
    assert printed in done.out
    assert good.asked == [("shop.example", int(served.tcp.rpartition(":")[2]))]


def test_several_are_a_chain_and_tls_is_with_the_server(
    tieline: CommandLine, served: Served, certificates: Certificates
) -> None:
    hops = [Good(NAMES), Good(auth=ANN)]
    with listening(hops[0]) as one, listening(hops[1]) as two:
        chain = ("--proxy", url_of("http", one), "--proxy", f"socks5://ann:secret@shop.example:{two.port}")
        done = tieline("call", served.tls, "add", "1", *chain, "--tls-ca", certificates.ca)
        assert hops[0].asked == [("shop.example", two.port)]
    assert (done.code, done.out) == (0, "2\n")
    assert hops[1].asked == [("127.0.0.1", int(served.tls_port))]


def test_the_environment_names_the_proxy_only_when_it_is_asked(
    tieline: CommandLine, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = Good(NAMES)
    with listening(good) as scripted:
        monkeypatch.setenv("ALL_PROXY", url_of("socks5", scripted))
        monkeypatch.delenv("all_proxy", raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
        monkeypatch.delenv("no_proxy", raising=False)
        assert tieline("call", served.tcp, "add", "1").out == "2\n"
        assert tieline("call", served.tcp, "add", "1", "--proxy", "env").out == "2\n"  # it is excepted
        assert good.asked == []
        assert tieline("call", by_name(served.tcp), "add", "1", "--proxy", "env").out == "2\n"
        assert len(good.asked) == 1
        monkeypatch.delenv("ALL_PROXY")
        done = tieline("call", served.tcp, "add", "1", "--proxy", "env")
        assert (done.code, done.error) == (2, "--proxy env: ALL_PROXY names no proxy")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("call", "tcp://h:1", "add", "--proxy", "secret"), "the URL of a proxy must be"),
        (("call", "tcp://h:1", "add", "--proxy", "socks4://h:1"), "SOCKS4 takes IPv4 addresses only"),
        (("call", "unix:x", "add", "--proxy", "socks5://u:secret@h:1"), "a proxy takes TCP endpoints only"),
        (("call", "tcp://h:1", "add", "--proxy", "env", "--proxy", "socks5://u:secret@h:1"), "stands alone"),
        (("proxy-check", "ftp://u:secret@h:1"), "the URL of a proxy must be"),
        (("proxy-check", "env"), "ALL_PROXY: the URL of a proxy must be"),
    ],
)
@pytest.mark.row("P2")
def test_what_no_proxy_can_be_is_refused(
    tieline: CommandLine, words: tuple[str, ...], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("all_proxy", raising=False)
    monkeypatch.setenv("ALL_PROXY", "ann:secret@h")
    done = tieline(*words)
    assert (done.code, done.out) == (2, "")
    assert text in done.error
    assert "secret" not in done.error


@pytest.mark.row("P2", "P3")
@pytest.mark.parametrize(
    ("script", "scheme", "texts"),
    [
        (sends(b"\x05\xff"), "socks5", ("(0xFF)", "they go into its URL: socks5://USER:PASSWORD@HOST:PORT")),
        (sends(b"HTTP/1.1 407 No\r\n\r\n"), "http", ("status 407", "they go into its URL")),
        (sends(b"HTTP/1.1 403 No\r\n\r\n"), "http", ("status 403", "proxy-check tells what the proxy is")),
        (sends(b"secret"), "socks5", ("0x73", "tieline proxy-check tells what the proxy is")),
        (sends(b"\0\x5b"), "socks4a", ("rejected",)),
        (silent, "socks5", ("within 0.1 s", "do the proxy and the server answer? (--timeout gives them longer)")),
    ],
    ids=["no method", "407", "403", "garbage", "rejected", "silent"],
)
def test_a_proxy_that_fails_is_told_in_one_line(
    tieline: CommandLine, script: Any, scheme: str, texts: tuple[str, ...]
) -> None:
    with listening(script) as scripted:
        patience = "0.1" if script is silent else "20"
        url = url_of(scheme, scripted, "ann:secret@")
        shown = url_of(scheme, scripted, "***@")
        done = tieline("call", "tcp://shop.example:1", "add", "--proxy", url, "--timeout", patience)
    assert done.code == 3
    assert done.error.startswith(f"cannot connect to tcp://shop.example:1 through {shown}")
    assert all(text in done.error for text in texts)
    assert "secret" not in done.error


def test_a_proxy_that_is_not_there_is_told_apart_from_the_server(tieline: CommandLine) -> None:
    with closed_port() as port:
        done = tieline("call", "tcp://shop.example:1", "add", "--proxy", f"socks5://127.0.0.1:{port}")
    assert done.code == 3
    assert done.error.endswith("is the proxy running, and listening there?")
    done = tieline("call", "tcp://127.0.0.1:1", "add", "--proxy", "socks5://no.such.host.invalid:1")
    assert done.code == 3
    assert done.error.endswith("; check the name of the proxy")


# --- proxy-check -----------------------------------------------------------------------------------------------------


def rows(out: str) -> dict[str, str]:
    """Return the table as what stands beside what."""
    return {line[:20].strip(): line[20:] for line in out.splitlines()}


def test_a_proxy_is_told_in_a_table(tieline: CommandLine) -> None:
    with listening(Good(auth=ANN)) as scripted:
        done = tieline("proxy-check", url_of("socks5", scripted, "ann:secret@"))
        assert (done.code, done.err) == (0, "")
        told = rows(done.out)
        assert told.pop("UDP").startswith("no: ")
        assert told == {
            "proxy": url_of("socks5", scripted, "***@"),
            "SOCKS5": "yes",
            "SOCKS4a": "yes",
            "SOCKS4": "yes",
            "HTTP CONNECT": "yes",
            "without a password": "no",
            "with a password": "yes",
            "looks names up": "yes",
            "IPv6 targets": "yes",
        }
        told = json.loads(tieline("proxy-check", url_of("socks5", scripted, "ann:secret@"), "--json").out)
        assert told["protocols"]["HTTP CONNECT"] == {"answer": True, "reason": ""}
        assert told["names"]["answer"] is True
        for user, says in (("", "wants a user name and a password"), ("ann:wrong@", "do not serve: it refuses")):
            done = tieline("proxy-check", url_of("socks5", scripted, user))
            assert done.code == 1
            assert says in done.err
            assert "wrong" not in done.out + done.err


@pytest.mark.row("P9")
@pytest.mark.parametrize(
    ("script", "scheme", "code", "text"),
    [
        (Good(speaks="C"), "socks5", 6, "does not speak SOCKS5, but HTTP CONNECT"),
        (Good(speaks="4"), "http", 6, "does not speak HTTP CONNECT, but SOCKS4a, SOCKS4"),
        (sends(b"HTTP/1.1 400 No\r\n\r\n"), "http", 6, "nor anything else that a proxy speaks"),
        (silent, "socks5", 6, "nor anything else that a proxy speaks"),
        (Good(), "socks5", 1, "do not serve: it takes none"),
    ],
)
def test_what_cannot_be_used_as_its_url_says_is_an_error(
    tieline: CommandLine, script: Any, scheme: str, code: int, text: str
) -> None:
    user = "ann:secret@" if code == 1 else ""
    with listening(script) as scripted:
        patience = "0.05" if script is silent else "20"
        done = tieline("proxy-check", url_of(scheme, scripted, user), "--timeout", patience)
    assert done.code == code
    assert text in done.err
    assert "secret" not in done.out + done.err


def test_nobody_there(tieline: CommandLine) -> None:
    with closed_port() as port:
        done = tieline("proxy-check", f"socks5://ann:secret@127.0.0.1:{port}")
    assert (done.code, done.out) == (3, "")
    assert done.error.endswith("is the proxy running, and listening there?")
