# SPDX-License-Identifier: MIT
"""The breakages: one a promise."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ROWS", "Breakage"]


@dataclass(frozen=True)
class Breakage:
    """A change of the source that must make a test fail.

    Attributes:
        promise: What is broken by it.
        file: The file, below src/tieline.
        old: Text that is in it once.
        new: What stands there instead.
        tests: What to tell pytest so that it plays the tests that must see it.
    """

    promise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return self.promise.replace(" ", "-")


WIRE = "tests/wire"
CALLS = f"{WIRE}/jsonrpc"

ROWS = (
    Breakage(
        "a call ends once",
        "wire/jsonrpc/calls.py",
        "token = self.open.pop(call_id, None)",
        "token = self.open.get(call_id)",
        ("tests/seeds/test_seeds.py", "-k", "calls"),
    ),
    Breakage(
        "ids match by type",
        "wire/jsonrpc/calls.py",
        "return call_id.__class__ is int and 0 <=",
        "return isinstance(call_id, int | float) and 0 <=",
        (f"{CALLS}/test_calls.py", f"{CALLS}/test_receiving_answers.py", f"{CALLS}/test_tables.py"),
    ),
    Breakage(
        "a lost connection fails each call",
        "wire/jsonrpc/calls.py",
        "tokens = list(self.open.values())",
        "tokens = list(self.open.values())[1:]",
        (f"{CALLS}/test_endings.py", f"{CALLS}/test_calls.py"),
    ),
    Breakage(
        "a call that is given up leaves nothing",
        "wire/jsonrpc/connection.py",
        "if self.calls.give_up(call_id) is not None:",
        "if self.calls.open.get(call_id) is not None:",
        (f"{CALLS}/test_taking_back.py", f"{CALLS}/test_connection.py"),
    ),
    Breakage(
        "a peer that reads nothing is not read",
        "wire/flow.py",
        "        if not open_calls and not self.senders_waiting:\n            return True",
        "        if not open_calls and not self.senders_waiting:\n            return False",
        (f"{CALLS}/test_back_to_back.py", "-k", "reads_nothing"),
    ),
    Breakage(
        "as many requests as may be open",
        "wire/flow.py",
        "if unanswered < self.parks_at:",
        "if unanswered <= self.parks_at:",
        (f"{WIRE}/test_flow.py", f"{CALLS}/test_limits.py", f"{CALLS}/test_window.py", f"{WIRE}/test_messages.py"),
    ),
    Breakage(
        "nested no deeper than that",
        "wire/jsonrpc/protocols.py",
        "and is_nested_deeper(payload, max_nesting)",
        "and is_nested_deeper(payload, max_nesting + 1)",
        (f"{CALLS}/test_limits.py", f"{CALLS}/test_protocols.py", f"{CALLS}/test_reading.py"),
    ),
    Breakage(
        "no more faults than that",
        "wire/jsonrpc/judging.py",
        "> ceiling(self.limits.max_errors):",
        "> ceiling(self.limits.max_errors) + 1:",
        (f"{CALLS}/test_limits.py", f"{CALLS}/test_verdicts.py"),
    ),
    Breakage(
        "no larger batches than that",
        "wire/jsonrpc/judging.py",
        "return max(self._ways.max_batch, ",
        "return max(self._ways.max_batch + 1, ",
        (f"{CALLS}/test_limits.py", f"{CALLS}/test_whole_batches.py"),
    ),
    Breakage(
        "no longer lines than that",
        "wire/framing/newline.py",
        "if len(line) > limit else line for line in lines",
        "if len(line) > limit + 1 else line for line in lines",
        (f"{WIRE}/test_framing.py", f"{WIRE}/test_framers.py"),
    ),
    Breakage(
        "lengths are digits",
        "wire/framing/content_length.py",
        "if not value.isdigit():",
        'if not value.lstrip(b"+").isdigit():',
        (f"{WIRE}/test_content_length.py",),
    ),
    Breakage(
        "TLS at a plain port is dropped",
        "wire/strangers.py",
        r'(b"\x15", b"\x16")',
        r'(b"\x15",)',
        (f"{WIRE}/test_strangers.py",),
    ),
    Breakage(
        "the hard limit holds",
        "wire/governance.py",
        "return self.total > self.limit",
        "return self.total > 2 * self.limit",
        (f"{WIRE}/test_governance.py", f"{WIRE}/test_governed.py"),
    ),
    Breakage(
        "to connect anew helps nobody",
        "wire/governance.py",
        "account = self._by_group[group] = Account(self._policy, now)",
        "account = Account(self._policy, now)",
        (f"{WIRE}/test_governance.py",),
    ),
    Breakage(
        "messages are said once",
        "wire/one_way.py",
        "queued, self.queued = self.queued, NO_OUTPUT\n        self.output_size = 0",
        "queued = self.queued\n        self.output_size = 0",
        ("tests/seeds/test_seeds.py", f"{WIRE}/test_messages.py", "-k", "messages"),
    ),
    Breakage(
        "messages are heard in order",
        "wire/messages.py",
        "self._held = [*self._held[self._at :], *messages] if self._held else messages",
        "self._held = messages",
        (f"{WIRE}/test_messages.py",),
    ),
    Breakage(
        "what is not signed is not read",
        "wire/serializers/encoded.py",
        "if not hmac.compare_digest(mac(plain), told):",
        "if len(mac(plain)) != len(told):",
        (f"{WIRE}/serializers/test_kit.py", f"{WIRE}/serializers/test_settings.py"),
    ),
    Breakage(
        "a reader for generators keeps nothing of what is too long",
        "wire/serializers/reading.py",
        "if not (thrown or seen - overlap > limit):",
        "if not thrown:",
        (f"{WIRE}/serializers/test_reading.py",),
    ),
    Breakage(
        "bombs do not go off",
        "wire/serializers/compressed.py",
        "return self._running.decompress(data, max_length)",
        "return self._running.decompress(data)",
        (f"{WIRE}/serializers/test_kit.py", "-k", "bomb or limit"),
    ),
    Breakage(
        "the version of a proxy's reply counts",
        "wire/proxies/socks5.py",
        "    if version != 5:\n",
        "    if version not in (4, 5):\n",
        (f"{WIRE}/proxies/test_dialogues.py",),
    ),
    Breakage(
        "passwords are not shown",
        "endpoints/proxies.py",
        """{'***@' if self.auth is not None else ''}""",
        """{f'{vars(self.auth)}@' if self.auth is not None else ''}""",
        ("tests/test_secrets_in_texts.py", "tests/test_proxy_values.py"),
    ),
    Breakage(
        "names that peers make up are one in metrics",
        "rpc/telemetry.py",
        "        return OTHER\n\n    def _told_of",
        "        return self._methods.told(method)\n\n    def _told_of",
        ("tests/rpc/test_telemetry.py",),
    ),
    Breakage(
        "a Unix socket is its owner's",
        "runtimes/unix_paths.py",
        "            os.chmod(path, mode)",
        "            os.chmod(path, 0o666)",
        ("tests/runtimes/test_unix_paths.py", "tests/rpc/test_server.py", "-k", "mode or permission or unix"),
    ),
    Breakage(
        "nothing of a connection stays",
        "runtimes/link.py",
        "        sink, self._sink = self._sink, _SILENT  # the two",
        "        vars(self._host).setdefault('kept', []).append(self)\n"
        "        sink, self._sink = self._sink, _SILENT  # the two",
        ("tests/soak/test_soak.py", "-k", "nothing_is_lost"),
    ),
)
