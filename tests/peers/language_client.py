# SPDX-License-Identifier: MIT
"""Our side as an editor: a session as language servers want it, what they told it, and its answers to what they ask."""

import dataclasses
from typing import Any

import tieline
from tests import aio
from tieline import CancelRule, JSONRPCv2

# Of what the base protocol of LSP has beyond JSON-RPC 2.0: a call is taken back by a notification that names its id.
CANCELLING = CancelRule(method="$/cancelRequest")


class LSP(JSONRPCv2):
    """JSON-RPC as language servers speak it: without batches, and calls can be taken back."""

    dialect = dataclasses.replace(JSONRPCv2.dialect, name="LSP", batches=False, cancel=CANCELLING)


class Editor:
    """What a language server told, by method, and the methods that it may call."""

    def __init__(self) -> None:
        self.told: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self._changed = aio.Condition()

    def methods(self) -> tieline.Methods:
        methods = tieline.Methods()
        for name in ("textDocument/publishDiagnostics", "$/progress", "window/logMessage", "window/showMessage"):
            methods.method(name=name)(self._hearing(name))
        for name in ("window/workDoneProgress/create", "client/registerCapability", "workspace/configuration"):
            methods.method(name=name)(self._answering(name))
        return methods

    async def diagnostics(self, uri: str, version: int) -> list[dict[str, Any]]:
        """Wait for what is wrong with a version of a document, and return it."""
        await self.until(lambda: self._published(uri, version))
        return self._published(uri, version)[0]

    async def until(self, condition: Any) -> None:
        """Wait until *condition* holds; it is asked again whenever the server has told or asked something."""
        async with aio.timeout(20), self._changed:
            await self._changed.wait_for(condition)

    def _published(self, uri: str, version: int) -> list[list[dict[str, Any]]]:
        told = self.told.get("textDocument/publishDiagnostics", [])
        return [each["diagnostics"] for each in told if (each["uri"], each.get("version")) == (uri, version)]

    def _hearing(self, name: str) -> Any:
        async def hear(**params: Any) -> None:
            self.told.setdefault(name, []).append(params)
            await self._tell()

        return hear

    def _answering(self, name: str) -> Any:
        async def answer(**params: Any) -> Any:
            self.asked.append((name, params))
            await self._tell()
            return [None] * len(params.get("items", ())) or None

        return answer

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
