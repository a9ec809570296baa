# SPDX-License-Identifier: MIT
"""Headless Chromium over WebSocket: its DevTools for our client, which has its pages call servers of ours."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import tieline
from tests.blocks import blocks_of
from tests.peers.browser import Page, browser, served_page
from tests.peers.our_side import Notes, our_methods
from tests.peers.programs import ROOT
from tests.rpc.sessions import until

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def chromium(need) -> Path:
    path: Path = need("chromium", "apt-get install chromium, or make test-peers")
    return path


@asynccontextmanager
async def page_and_server(
    chromium: Path, notes: Notes | None = None, **settings: Any
) -> AsyncIterator[tuple[Page, tieline.Server, str]]:
    """Give a page, a server of ours that lets it come, and the URL of that as the page writes it."""
    with served_page() as port:
        endpoint = tieline.WebSocket(
            tieline.TCP("127.0.0.1", 0), "/rpc", origins=[f"http://127.0.0.1:{port}"], **settings
        )
        async with (
            tieline.serve(our_methods(notes), endpoint, limits=tieline.Limits(linger=30.0)) as server,
            browser(chromium) as open_browser,
            open_browser.page(f"http://127.0.0.1:{port}/") as page,
        ):
            yield page, server, json.dumps(server.url)


# --- its DevTools, for our client ------------------------------------------------------------------------------------


async def test_its_devtools_answer_our_client_and_tell_it_what_happens(chromium):
    with served_page() as port:
        async with browser(chromium) as open_browser:
            version = await open_browser.session.call("Browser.getVersion")
            assert re.match(r"(Headless)?Chrome/\d", version["product"])
            with pytest.raises(tieline.RPCError, match="wasn't found") as caught:
                await open_browser.session.call("Nothing.ofThatName")
            assert caught.value.code == -32601
            async with open_browser.page(f"http://127.0.0.1:{port}/") as page:
                assert await page.run("document.title") == "a page"
                text = "ü" * 2_000_000  # more than any server of ours would take
                assert await page.run(f"{json.dumps(text)}.length") == len(text)
                assert await page.run("'x'.repeat(3000000)") == "x" * 3_000_000
                calls = [page.session.send_request("Runtime.evaluate", {"expression": str(n)}) for n in range(200)]
                assert [(await call)["result"]["value"] for call in calls] == list(range(200))
                await page.session.send_request("Runtime.enable", {})
                await page.run("console.log('grüße')")
                await until(lambda: page.heard == ["grüße"])


async def test_our_calls_end_when_the_browser_is_closed(chromium):
    async with browser(chromium) as open_browser:
        waiting = open_browser.session.send_request("Nothing.ofThatName")
        with pytest.raises(tieline.RPCError):
            await waiting
        await open_browser.session.call("Browser.close")
        await open_browser.session.wait_closed()
        with pytest.raises(tieline.ConnectionLost):
            await open_browser.session.call("Browser.getVersion")


# --- its pages, as clients of our server -----------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [False, True])
async def test_a_page_calls_our_server_and_our_server_the_page(chromium, compression):
    notes = Notes()
    async with page_and_server(chromium, notes, compression=compression) as (page, server, url):
        assert await page.run(f"connect({url}).then(found => {{ client = found; }})") is None
        assert await page.run("client.call('add', 1, 2)") == 3
        assert await page.run("client.call('echo', 'grüße \\u0000 \\u{1f600}')") == "grüße \0 \U0001f600"
        assert await page.run("client.call('size', 'x'.repeat(900000))") == 900_000
        assert await page.run("client.call('nothing').catch(error => error.code)") == -32601
        many = "Promise.all(Array.from({length: 500}, (_, n) => client.call('add', n, 1)))"
        assert await page.run(many) == list(range(1, 501))
        assert await page.run("client.call('ask_back', 21)") == 42  # the server calls `double` of the page meanwhile
        assert await page.run("client.heard") == [{"jsonrpc": "2.0", "method": "note", "params": ["asking about 21"]}]
        await page.run("client.notify('note', 'from the page')")
        assert await notes.all(1) == ["from the page"]
        (session,) = server.sessions
        info = session.get_extra_info("websocket")
        assert info.header("User-Agent").startswith("Mozilla/5.0")
        assert (info.path, info.origin) == ("/rpc", info.header("Origin"))


async def test_the_page_that_the_documentation_shows(chromium):
    (block,) = [one for one in blocks_of(ROOT / "docs" / "howto" / "browsers.md") if one.language == "js"]
    assert block.code.count('"wss://api.example/rpc"') == 1
    assert block.code.endswith('await server.call("greet");\n')
    methods = our_methods()

    @methods.method
    async def greet(session: tieline.ServerSession) -> str:
        with pytest.raises(tieline.RPCError) as caught:
            await session.call("nothing_of_that_name")
        assert caught.value.code == -32601
        return f"hello {await session.call('user_name')}"

    with served_page() as port:
        endpoint = tieline.WebSocket(tieline.TCP("127.0.0.1", 0), origins=[f"http://127.0.0.1:{port}"])
        async with (
            tieline.serve(methods, endpoint) as server,
            browser(chromium) as open_browser,
            open_browser.page(f"http://127.0.0.1:{port}/") as page,
        ):
            code = block.code.replace('"wss://api.example/rpc"', json.dumps(server.url))
            code += "const found = [await server.call('add', 2, 3), await server.call('greet')]; server.close();"
            code += "return [...found, await server.call('add', 2, 3).catch(error => error.message)];"
            assert await page.run(f"(async () => {{ {code} }})()") == [5, "hello Ann", "the connection is closed"]
            assert await page.run("typeof connect") == "function"


async def test_a_page_is_told_why_it_ends(chromium):
    async with page_and_server(chromium, subprotocols=["other", "jsonrpc"]) as (page, server, url):
        opened = f"connect({url}, ['jsonrpc', 'odd']).then(found => {{ client = found; }})"
        assert await page.run(opened) is None
        assert await page.run("client.socket.protocol") == "jsonrpc"
        await page.run("client.socket.close(4001, 'had enough')")
        assert await page.run("client.closed") == [4001, "had enough"]
        await until(lambda: not server.sessions)
        await page.run(opened)
        assert await page.run("client.call('add', 'x'.repeat(2000000), 1), client.closed") == [
            1009,
            await page.run("client.closed.then(end => end[1])"),
        ]
        await page.run(opened)
        await server.shutdown()
        assert await page.run("client.closed") == [1001, ""]


@pytest.mark.row("H72")
async def test_a_page_of_a_foreign_origin_cannot_call_a_loopback_server(chromium):
    notes = Notes()
    refused = "connect({url}).then(() => 'connected', error => error.message)"
    with served_page() as own, served_page() as foreign:
        endpoint = tieline.WebSocket(tieline.TCP("127.0.0.1", 0), "/rpc", origins=[f"http://127.0.0.1:{own}"])
        async with (
            tieline.serve(our_methods(notes), endpoint) as server,
            tieline.serve(our_methods(notes), "ws://127.0.0.1:0/rpc") as closed_to_pages,
            browser(chromium) as open_browser,
        ):
            for port, is_welcome in ((own, True), (foreign, False)):
                async with open_browser.page(f"http://127.0.0.1:{port}/") as page:
                    found = await page.run(refused.format(url=json.dumps(server.url)))
                    assert found == ("connected" if is_welcome else "no connection")
                    assert await page.run(refused.format(url=json.dumps(closed_to_pages.url))) == "no connection"
            # A name of the page's own that points to this machine: the browser takes the server for the page's own.
            rebound = closed_to_pages.url.replace("127.0.0.1", "rebound.example")
            async with open_browser.page(f"http://rebound.example:{foreign}/") as page:
                assert await page.run("location.hostname") == "rebound.example"
                assert await page.run(refused.format(url=json.dumps(rebound))) == "no connection"
            assert not closed_to_pages.sessions
    assert notes.values == []
