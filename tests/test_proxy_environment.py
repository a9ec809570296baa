# SPDX-License-Identifier: MIT
"""`proxy_from_environment`: what a user's variables say of proxies, and to whom they do not apply."""

from __future__ import annotations

import pytest

from tieline import SOCKS5, HTTPConnectProxy, SOCKSProxy, connect, proxy_from_environment

pytestmark = pytest.mark.row("P7")

ANN = HTTPConnectProxy(("proxy.example", 3128), (b"ann", b"pw"))
TOR = SOCKSProxy(("127.0.0.1", 9050), SOCKS5)
URL = "socks5h://127.0.0.1:9050"


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, None),
        ({"ALL_PROXY": ""}, None),
        ({"HTTP_PROXY": URL, "HTTPS_PROXY": URL}, None),
        ({"ALL_PROXY": URL}, TOR),
        ({"all_proxy": f" {URL} "}, TOR),
        ({"ALL_PROXY": "http://h:1", "all_proxy": URL}, TOR),
        (
            {"ALL_PROXY": "http://ann:pw@proxy.example:3128/"},
            HTTPConnectProxy(("proxy.example", 3128), (b"ann", b"pw")),
        ),
        ({"ALL_PROXY": URL, "NO_PROXY": "*"}, TOR),  # it is not said for whom
    ],
)
def test_one_variable_names_the_proxy(variables: dict[str, str], found: object) -> None:
    assert proxy_from_environment(variables=variables) == found


@pytest.mark.parametrize(
    ("host", "listed", "is_excepted"),
    [
        ("wallet.example", "", False),
        ("wallet.example", "*", True),
        ("wallet.example", "example", True),
        ("wallet.example", ".example", True),
        ("Wallet.Example.", "other.test , WALLET.example", True),
        ("wallet.example", "*.example", True),
        ("wallet.example", "let.example", False),
        ("wallet.example", "wallet", False),
        ("wallet.example", "., ,", False),
        ("example", "wallet.example", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "192.168.0.0/16 10.1.2.3", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("::1", "[::1]", True),
        ("[fd00::5]", "fd00::/8", True),
        ("fd00::5", "10.0.0.0/8", False),
        ("10.example", "10.0.0.0/8", False),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_another_names_whom_it_is_not_for(name: str, host: str, listed: str, is_excepted: bool) -> None:
    variables = {"ALL_PROXY": URL, name: listed}
    assert proxy_from_environment(host, variables) == (None if is_excepted else TOR)


@pytest.mark.row("P2")
@pytest.mark.parametrize("url", ["secret", "ann:secret@h:1", "socks5://ann:secret@h", "https://ann:secret@h:1"])
def test_what_cannot_be_understood_is_told_by_the_variable_s_name_alone(url: str) -> None:
    with pytest.raises(ValueError, match="the variable ALL_PROXY: ") as caught:
        proxy_from_environment(variables={"ALL_PROXY": url})
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nobody_looks_unless_he_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", URL)
    assert connect("tcp://h:1").proxy() is None
    assert proxy_from_environment() == TOR
    assert connect("tcp://h:1", proxy=proxy_from_environment("h")).proxy() == TOR
