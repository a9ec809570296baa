# SPDX-License-Identifier: MIT
"""endpoints/proxies.py, proxy_auth.py and proxy_urls.py: proxies as values, checked before any I/O."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from tieline import (
    SOCKS4,
    SOCKS5,
    TCP,
    TLS,
    HTTPConnectProxy,
    SOCKS4a,
    SOCKSFailure,
    SOCKSProxy,
    SOCKSRandomAuth,
    SOCKSUserAuth,
    UnixStream,
)
from tieline.endpoints.proxies import Route
from tieline.runtimes.proxies import as_route

ANN = SOCKSUserAuth("ann", "pw")


@pytest.mark.row("P4")
@pytest.mark.parametrize(
    ("address", "endpoint", "text"),
    [
        (("127.0.0.1", 9050), TCP("127.0.0.1", 9050), "socks5://127.0.0.1:9050"),
        (("proxy.example", 1), TCP("proxy.example", 1), "socks5://proxy.example:1"),
        (("::1", 9050), TCP("::1", 9050), "socks5://[::1]:9050"),
        (("::1", 9050, 0, 0), TCP("::1", 9050), "socks5://[::1]:9050"),
        (("fe80::1", 9050, 0, 7), TCP("fe80::1%7", 9050), "socks5://[fe80::1%257]:9050"),
        (("fe80::1%eth0", 9050, 0, 7), TCP("fe80::1%7", 9050), "socks5://[fe80::1%257]:9050"),
        ("/run/tor/socks", UnixStream("/run/tor/socks"), "socks5 at unix:///run/tor/socks"),
        (Path("/run/tor/socks"), UnixStream("/run/tor/socks"), "socks5 at unix:///run/tor/socks"),
        ("./socks", UnixStream("./socks"), "socks5 at unix:./socks"),
        ("@tor", UnixStream("@tor"), "socks5 at unix:@tor"),
        (TCP("h", 1, happy_eyeballs_delay=None), TCP("h", 1, happy_eyeballs_delay=None), "socks5://h:1"),
        (UnixStream("s"), UnixStream("s"), "socks5 at unix:s"),
    ],
)
def test_an_address_is_where_the_proxy_is(address: Any, endpoint: Any, text: str) -> None:
    proxy = SOCKSProxy(address, SOCKS5)
    assert (proxy.address, proxy.endpoint, str(proxy)) == (address, endpoint, text)
    assert (proxy.host, proxy.port, proxy.peername, proxy.auth) == (None, None, None, None)
    assert repr(proxy) == f"<SOCKSProxy {text}>"


@pytest.mark.row("P4", "H66")
@pytest.mark.parametrize(
    ("address", "error", "says"),
    [
        (("127.0.0.1", 0), ValueError, "must be over 0"),
        (("127.0.0.1", 65536), ValueError, "from 0 to 65535"),
        (("", 1), ValueError, "host must not be empty"),
        (("a b", 1), ValueError, "host must hold no spaces"),
        (("a\0", 1), ValueError, "host must hold no spaces"),
        (("a" * 64, 1), ValueError, "not a valid name"),
        ("localhost:9050", ValueError, "with a / in it"),
        ("", ValueError, "with a / in it"),
        (("127.0.0.1",), TypeError, "must be .host, port."),
        (("127.0.0.1", "9050"), TypeError, "must be .host, port."),
        (9050, TypeError, "must be .host, port."),
        (None, TypeError, "must be .host, port."),
        (TCP(None, 1), TypeError, "not TCP"),
        (TCP("h", 1, tls=TLS()), TypeError, "not TCP"),
    ],
)
def test_an_address_that_no_proxy_can_have_is_refused(address: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        SOCKSProxy(address, SOCKS5)
    with pytest.raises(error, match=says):
        HTTPConnectProxy(address)


@pytest.mark.row("P2", "H66")
def test_what_is_no_protocol_or_no_auth_is_refused() -> None:
    for protocol in ("SOCKS5", None, SOCKSFailure):
        with pytest.raises(TypeError, match="protocol must be SOCKS4, SOCKS4a or SOCKS5"):
            SOCKSProxy(("h", 1), protocol)  # type: ignore[arg-type]  # that is the point
    for auth in (("ann", "pw"), "ann:pw"):
        with pytest.raises(TypeError, match="auth must be") as caught:
            SOCKSProxy(("h", 1), SOCKS5, auth)  # type: ignore[arg-type]  # that is the point
        assert "pw" not in str(caught.value)


# --- credentials -----------------------------------------------------------------------------------------------------


@pytest.mark.row("P2")
def test_a_user_auth_is_a_named_tuple_that_hides_what_it_holds() -> None:
    pair: tuple[object, ...] = ANN
    assert (ANN.username, ANN.password) == pair == ("ann", "pw")
    user, password = ANN
    assert (user, password) == ("ann", "pw")
    assert repr(ANN) == str(ANN) == "SOCKSUserAuth(username='***', password='***')"
    assert ANN.credentials() == (b"ann", b"pw")
    assert SOCKSUserAuth("ü", b"\xff").credentials() == (b"\xc3\xbc", b"\xff")
    for again in (copy.copy(ANN), pickle.loads(pickle.dumps(ANN)), ANN._replace()):
        assert again == ANN
        assert type(again) is SOCKSUserAuth


@pytest.mark.row("P2", "H66")
@pytest.mark.parametrize(
    ("user", "password"),
    [("", "p"), ("u" * 256, "p"), ("ü" * 128, "p"), ("u", "p" * 256), ("u", "\ud800")],
)
def test_credentials_over_the_limits_of_rfc_1929_are_refused(user: str, password: str) -> None:
    with pytest.raises(ValueError, match=r"username|password") as caught:
        SOCKSUserAuth(user, password)
    assert "uuu" not in str(caught.value)
    assert "ppp" not in str(caught.value)


@pytest.mark.row("P2", "H66")
def test_credentials_at_the_limits_are_not() -> None:
    SOCKSProxy(("h", 1), SOCKS5, SOCKSUserAuth("u" * 255, "p" * 255)).dialogue("h", 1)
    SOCKSProxy(("h", 1), SOCKS5, SOCKSUserAuth("a\0b", "p")).dialogue("h", 1)
    SOCKSProxy(("h", 1), SOCKS4a, SOCKSUserAuth("u", "")).dialogue("h", 1)
    with pytest.raises(ValueError, match="password must be 1 to 255 bytes long for SOCKS5"):
        SOCKSProxy(("h", 1), SOCKS5, SOCKSUserAuth("u", ""))
    for protocol in (SOCKS4, SOCKS4a):
        with pytest.raises(ValueError, match="must hold no NUL"):
            SOCKSProxy(("h", 1), protocol, SOCKSUserAuth("a\0b", "p"))
    with pytest.raises(TypeError, match="username must be a str or bytes, not int"):
        SOCKSUserAuth(1, "p")  # type: ignore[arg-type]  # that is the point


@pytest.mark.row("P2")
def test_random_credentials_are_new_each_time_and_never_tor_s_own() -> None:
    auth = SOCKSRandomAuth()
    made = {one for _ in range(50) for one in auth.credentials()}
    assert len(made) == 100
    assert all(len(one) == 32 and not one.startswith(b"<torS0X>") for one in made)
    assert (auth, hash(auth)) == (SOCKSRandomAuth(), hash(SOCKSRandomAuth()))
    assert auth != ANN
    proxy = SOCKSProxy(("h", 1), SOCKS5, auth)
    assert proxy.credentials() != proxy.credentials()


@pytest.mark.row("P2", "P7", "H66")
@pytest.mark.parametrize(
    ("auth", "error", "says"),
    [
        (("a:b", "p"), ValueError, "no colon"),
        (("a", "p\r\nX: y"), ValueError, "no control characters"),
        (("a\x7f", "p"), ValueError, "no control characters"),
        (("a", "p" * 5000), ValueError, "at most 4096"),
        (("a", 1), TypeError, "password must be a str or bytes"),
        (("a",), TypeError, "must be a pair"),
        ("a:p", TypeError, "must be a pair"),
        (SOCKSRandomAuth(), TypeError, "must be a pair"),
    ],
)
def test_what_an_http_proxy_cannot_be_told_is_refused(auth: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        HTTPConnectProxy(("h", 1), auth)
    assert "ppp" not in str(caught.value)


@pytest.mark.row("P7")
@pytest.mark.parametrize("auth", [ANN, ("ann", "pw"), (b"ann", b"pw")])
def test_an_http_proxy_is_told_any_pair(auth: Any) -> None:
    request = HTTPConnectProxy(("h", 1), auth).dialogue("host.example", 443).data_to_send()
    assert b"\r\nProxy-Authorization: Basic YW5uOnB3\r\n\r\n" in request


def test_proxies_are_compared_by_what_they_are() -> None:
    same = [SOCKSProxy(("h", 1), SOCKS5, ANN), SOCKSProxy(TCP("h", 1), SOCKS5, SOCKSUserAuth("ann", "pw"))]
    assert len(set(same)) == 1
    same[0].host = "elsewhere"
    assert same[0] == same[1]
    others = [
        *(SOCKSProxy(("h", 2), SOCKS5, ANN), SOCKSProxy(("h", 1), SOCKS4a, ANN), SOCKSProxy(("h", 1), SOCKS5)),
        *(HTTPConnectProxy(("h", 1), ANN), ("h", 1)),
    ]
    assert not [one for one in others if one == same[0]]


# --- URLs ------------------------------------------------------------------------------------------------------------


@pytest.mark.row("P7")
@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("socks4://h:1", SOCKSProxy(("h", 1), SOCKS4)),
        ("socks4a://h:1", SOCKSProxy(("h", 1), SOCKS4a)),
        ("socks5://h:1", SOCKSProxy(("h", 1), SOCKS5)),
        ("socks5h://h:1", SOCKSProxy(("h", 1), SOCKS5)),
        ("SOCKS5://h:1/", SOCKSProxy(("h", 1), SOCKS5)),
        ("http://h:1", HTTPConnectProxy(("h", 1))),
        ("socks5://[::1]:9050", SOCKSProxy(("::1", 9050), SOCKS5)),
        ("socks5://ann:pw@h:1", SOCKSProxy(("h", 1), SOCKS5, SOCKSUserAuth(b"ann", b"pw"))),
        ("socks4://ann@h:1", SOCKSProxy(("h", 1), SOCKS4, SOCKSUserAuth(b"ann", b""))),
        ("http://ann:pw@h:1", HTTPConnectProxy(("h", 1), (b"ann", b"pw"))),
        ("http://ann@h:1", HTTPConnectProxy(("h", 1), (b"ann", b""))),
        ("socks5://a%3Ab:p%40%2F%c3%bc@h:1", SOCKSProxy(("h", 1), SOCKS5, SOCKSUserAuth(b"a:b", b"p@/\xc3\xbc"))),
        ("socks5://ann:p:w@d@h:1", SOCKSProxy(("h", 1), SOCKS5, SOCKSUserAuth(b"ann", b"p:w@d"))),
    ],
)
def test_a_url_names_a_proxy(url: str, proxy: Any) -> None:
    route = as_route(url)
    assert isinstance(route, Route)
    assert route.proxies == (proxy,)
    assert "pw" not in f"{route} {route!r} {route.proxies}"


@pytest.mark.row("P7", "H66")
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("socks5://127.0.0.1", "has no port"),
        ("socks5://[::1]", "has no port"),
        ("socks5://h:", "has no port"),
        ("socks5://:1080", "has no host"),
        ("socks5://", "has no port"),
        ("socks5://h:1/path", "must end after the port"),
        ("ftp://h:1", "must be scheme://host:port or"),
    ],
)
def test_what_is_wrong_with_a_url_is_told_and_all_schemes_that_there_are(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=rf"URL of a proxy {says}.* one of socks4, socks4a, socks5, socks5h, http$"):
        as_route(url)


@pytest.mark.row("P2", "P7", "H66", "H80")
@pytest.mark.parametrize(
    "url",
    [
        "",
        "secret",
        "h:1",
        "https://u:secret@h:1",
        "secret://h:1",
        "socks5:h:1",
        "socks5:/u:secret@h:1",
        "socks5://",
        "socks5://u:secret@",
        "socks5://h",
        "socks5://u:secret@h",
        "socks5://u:secret@h:",
        "socks5://u:secret@:1",
        "socks5://u:secret:1",
        "socks5://u:secret@h:0",
        "socks5://u:secret@h:65536",
        "socks5://u:secret@h:x",
        "socks5://u:secret@[::1]",
        "socks5://u:secret@[::1:1",
        "socks5://u:secret@h:1/path",
        "socks5://u:secret@h:1?query",
        "socks5://u:secret@h:1#fragment",
        "socks5://u:secret @h:1",
        "socks5://u:sec\nret@h:1",
        "socks5://:secret@h:1",
        "socks5://secret@h:1",
        "socks5://u:secret" + "t" * 300 + "@h:1",
        "socks4://%00:secret@h:1",
        "http://a%3Ab:secret@h:1",
        "http://u:secret%0d@h:1",
    ],
)
def test_a_url_that_names_none_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"proxy|username|password|user name|port|host") as caught:
        as_route(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "secret" not in str(error)
        error = error.__cause__


@pytest.mark.row("P4")
@pytest.mark.parametrize(
    ("choice", "error", "says"),
    [
        ([], ValueError, "proxy must name at least one proxy, or be None"),
        ((), ValueError, "proxy must name at least one proxy, or be None"),
        (b"socks5://h:1", TypeError, "proxy must be a proxy, its URL, or a list of these, not bytes"),
        (bytearray(b"socks5://h:1"), TypeError, "proxy must be a proxy, its URL, or a list of these, not bytearray"),
        (5, TypeError, "proxy must be a proxy, its URL, or a list of these, not int"),
        (["socks5://h:1", b"x"], TypeError, "proxy may be a list of proxies and their URLs, but bytes is in it"),
    ],
)
def test_what_is_no_way_is_told_by_the_name_of_the_argument(choice: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        as_route(choice)
