# SPDX-License-Identifier: MIT
"""Headless Chromium: a browser whose pages call servers of ours, and a server of its DevTools for our client."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import tieline
from tests import aio
from tests.peers.programs import running
from tieline import dialects

# A client of JSON-RPC as a page would have it. `connect` gives what calls, or fails when there is no connection.
PAGE = b"""<!doctype html><title>a page</title><script>
function connect(url, protocols) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, protocols || []);
    const open = new Map();
    const heard = [];
    let last = 0;
    const client = {
      heard, socket,
      closed: new Promise(done => socket.onclose = event => done([event.code, event.reason])),
      call: (method, ...params) => new Promise((resolve, reject) => {
        open.set(++last, {resolve, reject});
        socket.send(JSON.stringify({jsonrpc: "2.0", id: last, method, params}));
      }),
      notify: (method, ...params) => socket.send(JSON.stringify({jsonrpc: "2.0", method, params})),
    };
    socket.onmessage = event => {
      const message = JSON.parse(event.data);
      if (message.method === "double") {
        socket.send(JSON.stringify({jsonrpc: "2.0", id: message.id, result: 2 * message.params[0]}));
      } else if (message.method) {
        heard.push(message);
      } else {
        const call = open.get(message.id);
        open.delete(message.id);
        message.error ? call.reject(message.error) : call.resolve(message.result);
      }
    };
    socket.onopen = () => resolve(client);
    socket.onerror = () => reject(new Error("no connection"));
  });
}
</script>"""

_LISTENING = re.compile(r"DevTools listening on (ws://\S+)")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: Any) -> None: ...


@contextmanager
def served_page() -> Iterator[int]:
    """Serve the page on a port of this machine, at any path, and give the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class Page:
    """A page of the browser, by its DevTools.

    Attributes:
        session: The session with its DevTools, of ours.
        heard: What the page has said on its console.
    """

    def __init__(self, session: tieline.ClientSession, heard: list[Any]) -> None:
        self.session = session
        self.heard = heard

    async def run(self, script: str) -> Any:
        """Let the page run *script*, wait for its promise, and return what it comes to.

        Raises:
            AssertionError: It throws.
        """
        found = await self.session.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, timeout=20
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")


class Browser:
    """A running browser: the URL of its DevTools, and a session of ours with them."""

    def __init__(self, url: str, session: tieline.ClientSession) -> None:
        self.url = url
        self.session = session

    @asynccontextmanager
    async def page(self, url: str) -> AsyncIterator[Page]:
        """Open a page, and give it when it has loaded."""
        target = (await self.session.call("Target.createTarget", url="about:blank"))["targetId"]
        heard: list[Any] = []
        methods = tieline.Methods()
        loaded = aio.Event()

        @methods.method(name="Page.loadEventFired")
        def page_has_loaded(timestamp: float) -> None:
            loaded.set()

        @methods.method(name="Runtime.consoleAPICalled")
        def page_has_said(**said: Any) -> None:
            heard.append(said["args"][0]["value"])

        place = self.url.rsplit("/", 2)[0]
        async with tieline.connect(f"{place}/page/{target}", methods, dialect=dialects.devtools) as session:
            await session.send_request("Page.enable", {})  # a list of none is refused
            await session.call("Page.navigate", url=url)
            await loaded.wait()
            yield Page(session, heard)


@asynccontextmanager
async def browser(chromium: Path) -> AsyncIterator[Browser]:
    """Start a browser with a profile of its own, and connect to its DevTools."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # Without a sandbox, since root has none; the pages are ours. No host is asked for but this machine.
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        flags += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "--disable-background-networking"]
        flags += ["--host-resolver-rules=MAP *.example 127.0.0.1"]
        async with running(chromium, *flags, "about:blank", errors_too=True) as program:
            while (found := _LISTENING.search(await program.line())) is None:
                pass
            async with tieline.connect(found[1], dialect=dialects.devtools) as session:
                yield Browser(found[1], session)
