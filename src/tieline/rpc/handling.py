# SPDX-License-Identifier: MIT
"""Handling what the peer asks: from a request to a handler, from a handler's outcome to an answer.

Plain handlers run at once, async ones as tasks; all START in the order in which their requests came. Whatever a
handler does, its request is answered exactly once, or the connection is closed.
"""

from __future__ import annotations

from collections import deque
from inspect import isawaitable, iscoroutine
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import UNSET

from tieline.errors import LocalProtocolError, RPCError, TielineError
from tieline.rpc.binding import ArgumentsError
from tieline.rpc.hints import unknown_method
from tieline.rpc.methods import Method
from tieline.rpc.outcomes import ReplyAndDisconnect, ReplyAndStartTLS
from tieline.rpc.securing import INJECTED, agree_to_tls, check_open, obstacle
from tieline.rpc.walking import Walk, current_walk
from tieline.wire.jsonrpc.codecs import MsgspecCodec
from tieline.wire.jsonrpc.items import RPCRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from contextvars import Context

    from tieline.rpc.owner import Owner
    from tieline.runtimes.backend import Backend
    from tieline.runtimes.host import Handle, Host, Timer
    from tieline.runtimes.link import Link
    from tieline.wire.jsonrpc.reading import Request

__all__ = ["Handling"]

# Handlers that `request_handler` gave, kept with their signatures; a peer that makes up names must not fill the memory.
MAX_BOUND: Final = 1000

# How often within `Limits.handler_timeout` it is looked which handlers run. So none needs a timer of its own.
LOOKS: Final = 8


class Boss(Protocol):
    """Who has handlers run: a session's engine."""

    @property
    def backend(self) -> Backend: ...

    def handler_ended(self) -> None: ...


class Handling:
    """The handlers of one session at work.

    Args:
        session: The session that they belong to.
        link: Its link.
        host: Its host.
        overrides: Which of `handle_request`, `request_handler` and `notification_handler` the session's class defines
            anew; only these are asked.
        boss: Told whenever a task of a handler has ended.

    Attributes:
        context: The context variables as they were when the connection was made. Each handler gets a copy, never what
            the running code has: that may be another handler, which lets the reading go on as it ends.
        is_direct: Whether methods are only looked up by name and invoked: the session's class has no say in it, and
            no codec of its own.
        running: The requests whose handlers run as tasks, by the handle of the task.
        unstarted: Tasks that were started and have not taken their first step (CPython 3.11).
        failures: How many handlers failed with something other than an `RPCError`.
    """

    __slots__ = (
        "_ages",
        "_asks",
        "_boss",
        "_bound",
        "_convert",
        "_first_steps",
        "_given_up",
        "_host",
        "_link",
        "_ordered",
        "_ordered_now",
        "_overdue",
        "_sees_all",
        "_session",
        "_timeout",
        "_timer",
        "context",
        "failures",
        "is_direct",
        "running",
        "unstarted",
    )

    context: Context

    def __init__(self, session: Owner, link: Link, host: Host, *, overrides: frozenset[str], boss: Boss) -> None:
        self._session = session
        self._link = link
        self._host = host
        self._boss: Boss | None = boss
        self._sees_all = "handle_request" in overrides
        self._asks = bool(overrides & {"request_handler", "notification_handler"})
        # The codec stays when auto-detection changes the protocol. None = the methods' own way, which is quicker.
        codec = session.protocol.codec
        self._convert = None if codec.__class__ is MsgspecCodec else codec.convert
        # What nearly no session has any of is made when it is needed.
        self._bound: dict[Callable[..., object], Method] | None = None
        self._ordered: deque[tuple[Method | None, Request]] | None = None
        self._ordered_now: Request | None = None  # the ordered notification whose handler runs
        self._first_steps: Walk | None = None  # whose handlers take their first steps, within `host.start`
        self._given_up: Sequence[Request] = ()  # requests whose handlers close the session: not to be answered
        self._timeout = session.limits.handler_timeout
        self._timer: Timer | None = None  # for the next look at what runs
        self._ages: dict[Handle, int] | None = None  # how many looks a handler has seen
        self._overdue: list[Request] | None = None  # requests whose handlers were cancelled because they took too long
        self.is_direct = not self._sees_all and not self._asks and self._convert is None
        self.running: dict[Handle, Request] | None = None
        self.unstarted = 0
        self.failures = 0

    # --- from requests to handlers -------------------------------------------------------------------------------

    def start(self, message: Request) -> None:
        """Start the handler of a request or notification."""
        method: Method | None = None
        if not self._sees_all:
            try:
                method = self.find(message.method, is_notification=message.id is UNSET)
            except BaseException as exc:
                self.failed(message, exc)
                return
            if method is None:
                text = unknown_method(message.method)
                self._link.machine.fail(message, self._session.protocol.method_not_found(text))
                return
        registered = method or self._session.methods.get(message.method)
        if registered is not None and registered.ordered and message.id is UNSET:
            self._start_ordered(method, message)
            return
        # Behind a task that has not begun, a plain handler has to wait for its turn.
        if method is None or method.is_async or self.unstarted:
            self._start_task(method, message)
            return
        try:
            # In a context of its own: what it sets there must not reach the handlers that come after it.
            result = self.context.copy().run(self.invoke, method, message.params)
        except BaseException as exc:
            self.failed(message, exc)
        else:
            self.reply(message, result)

    def find(self, name: str, *, is_notification: bool) -> Method | None:
        """Return the method for a name: what the session's overrides give, else what is registered."""
        session = self._session
        if not self._asks:
            return session.methods.get(name)
        found = session.notification_handler(name) if is_notification else session.request_handler(name)
        if found is None or isinstance(found, Method):
            return found
        if self._bound is None or len(self._bound) >= MAX_BOUND:
            self._bound = {}
        method = self._bound.get(found)
        if method is None:
            method = self._bound[found] = Method("handler", found)
        return method

    def invoke(self, method: Method, params: object) -> Any:
        """Call the function with a peer's arguments; for an async one that gives its coroutine."""
        if self._convert is None:
            return method.invoke(params, self._session)
        return method.invoke(params, self._session, self._convert)

    # --- tasks ---------------------------------------------------------------------------------------------------

    def _start_task(self, method: Method | None, message: Request) -> bool:
        """Start a handler as a task; return whether it has ended already."""
        self.unstarted += 1
        walk = Walk(message)
        return self.start_walk(walk, self._run(method, message, walk))

    def start_walk(self, walk: Walk, coroutine: Coroutine[Any, Any, None]) -> bool:
        """Start what runs handlers as a task; return whether it has ended already."""
        outer, self._first_steps = self._first_steps, walk  # a walker starts others for what it does not run itself
        try:
            handle = self._host.start(coroutine, self.context.copy())
        finally:
            self._first_steps = outer
        if handle is None:
            return True
        walk.has_waited = True
        if walk.request is not None:  # else it has given up its request
            if self.running is None:
                self.running = {}
            self.running[handle] = walk.request
            handle.add_done_callback(self._ended)
            if self._timer is None and self._timeout is not None:
                self._plan_look(self._timeout)
        return False

    def give_up_current(self) -> list[Request]:
        """Take out and return the request whose handler is running, or started the task that is; else nothing.

        It is not answered any more, whatever the handler does. Ordered notifications behind it are taken out as well:
        their turn would come when it returns. A handler that was started eagerly may ask this in its very first step,
        when its task is not known here yet.
        """
        walk = current_walk.get()
        if walk is None or walk.request is None:
            return []
        request = walk.request
        if walk is not self._first_steps:
            running = self.running or {}
            handle = next((handle for handle, message in running.items() if message is request), None)
            if handle is None:  # it has ended, or is another session's
                return []
            del running[handle]
        walk.request = None
        self._given_up = [*self._given_up, request]
        taken = [request]
        if request is self._ordered_now and self._ordered:
            taken += [message for _, message in self._ordered]
            self._ordered = None
        return taken

    def _ended(self, handle: Handle) -> None:
        message = None if self.running is None else self.running.pop(handle, None)
        if message is not None:
            self._take_overdue(message)
            if message is self._ordered_now:
                self._start_next_ordered()
        if self._boss is not None:
            self._boss.handler_ended()

    async def _run(self, method: Method | None, message: Request, walk: Walk) -> None:
        self.unstarted -= 1
        current_walk.set(walk)
        try:
            if method is None:
                result: Any = self._session.handle_request(_request_of(message))
                if isawaitable(result):  # users override it by plain functions as well
                    result = await result
            else:
                result = self.invoke(method, message.params)
                if method.is_async:
                    result = await result
        except BaseException as exc:
            self.failed(message, exc)
        else:
            self.reply(message, result)

    def _start_ordered(self, method: Method | None, message: Request) -> None:
        """Handle a notification behind all ordered ones before it."""
        if self._ordered is None:
            self._ordered = deque()
        self._ordered.append((method, message))
        if self._ordered_now is None:
            self._start_next_ordered()

    def _start_next_ordered(self) -> None:
        """Start what has waited for its turn; a task each, so that each has a context of its own."""
        self._ordered_now = None
        while self._ordered and self._ordered_now is None:
            method, message = self._ordered.popleft()
            self._ordered_now = message
            if self._start_task(method, message):
                self._ordered_now = None

    def cancel_all(self) -> None:
        """Cancel every handler that runs as a task: nobody waits for its answer any more."""
        self._ordered = self._ages = None
        if self._timer is not None:
            self._timer.cancel()
        self._timeout = self._timer = None
        for handle in list(self.running or ()):
            handle.cancel()

    def let_go(self, session: Owner) -> None:
        """Take note that all is over, and that *session* refers to the session from now on, weakly."""
        self._session = session
        self._boss = None

    # --- handlers that take too long -----------------------------------------------------------------------------

    def _plan_look(self, timeout: float) -> None:
        self._timer = self._host.call_at(self._host.now() + max(timeout / LOOKS, 0.001), self._look)

    def _look(self) -> None:
        """Cancel the handlers that have seen more than `LOOKS` looks; one that goes on is cancelled at each of them."""
        self._timer = None
        running = self.running
        if not running or self._timeout is None:
            self._ages = None
            return
        before = self._ages or {}
        self._ages = {handle: before.get(handle, 0) + 1 for handle in running}
        for handle, age in self._ages.items():
            if age > LOOKS:
                if age == LOOKS + 1:
                    self._overdue = [*(self._overdue or ()), running[handle]]
                handle.cancel()
        self._plan_look(self._timeout)

    def _take_overdue(self, message: Request) -> bool:
        """Return whether the handler of *message* was cancelled because it took too long, and forget it."""
        if not self._overdue:
            return False
        rest = [request for request in self._overdue if request is not message]
        is_overdue = len(rest) < len(self._overdue)
        self._overdue = rest or None
        return is_overdue

    # --- from outcomes to answers --------------------------------------------------------------------------------

    def reply(self, message: Request, result: object) -> bool:
        """Answer with a result; return False when that was not possible, and another answer was given or none."""
        if self._is_given_up(message):
            return False
        problem = self._link.machine.reply(message, result)
        if message.id is UNSET and iscoroutine(result):  # no codec was asked
            problem = TypeError("a plain function returned a coroutine, which nobody awaits")
        if problem is not None:
            if iscoroutine(result):  # a plain function made it: nobody will await it
                result.close()
            self.log_failure(message, problem)
        self._link.flush_soon()
        return problem is None

    def failed(self, message: Request, exc: BaseException) -> None:
        """Answer with what a handler raised; what ends the program goes on to do so."""
        if isinstance(exc, ReplyAndDisconnect):
            self._reply_and_disconnect(message, exc.result)
            return
        if isinstance(exc, ReplyAndStartTLS):
            self._reply_and_start_tls(message, exc)
            return
        protocol = self._session.protocol
        if isinstance(exc, RPCError):
            error = exc
        elif isinstance(exc, ArgumentsError):
            error = protocol.args_error(str(exc))
        elif not isinstance(exc, Exception) and self._take_overdue(message):
            text = f"handler cancelled (limit {self._session.limits.handler_timeout} s)"
            error = RPCError(protocol.SERVER_BUSY, text)
            self.log_failure(message, TimeoutError(text))
        else:
            # The text of the exception stays here: it may hold what the peer must not know.
            error = protocol.internal_error(None)
            if not self._link.is_lost:
                self.log_failure(message, exc)
        self._fail(message, error)
        if isinstance(exc, KeyboardInterrupt | SystemExit):
            self._host.end_program(exc)

    def _fail(self, message: Request, error: RPCError) -> None:
        if self._is_given_up(message):
            return
        problem = self._link.machine.fail(message, error)
        if problem is not None:
            self.log_failure(message, problem)
        self._link.flush_soon()

    def _is_given_up(self, message: Request) -> bool:
        return bool(self._given_up) and any(request is message for request in self._given_up)

    def _reply_and_disconnect(self, message: Request, result: object) -> None:
        if isinstance(result, RPCError):
            self._fail(message, result)
        else:
            self.reply(message, result)
        self._link.close()

    def _reply_and_start_tls(self, message: Request, outcome: ReplyAndStartTLS) -> None:
        link, protocol = self._link, self._session.protocol
        if link.is_lost or self._is_given_up(message):
            return
        try:
            if message.id is UNSET:  # the peer could not know when to begin
                raise LocalProtocolError("a notification has no answer, and so cannot start TLS")
            try:
                check_open(link)
            except TielineError as exc:
                raise RPCError(protocol.SERVER_BUSY, str(exc)) from exc
            if link.machine.is_in_batch(message):
                raise RPCError(protocol.SERVER_BUSY, "TLS cannot start within a batch")
            if not link.is_last(message):
                link.violated(INJECTED)
                return
            if problem := obstacle(link, running=1):
                raise RPCError(protocol.SERVER_BUSY, problem)
            context = outcome.tls.server_context()
        except Exception as exc:
            self.failed(message, exc)
            return
        if self.reply(message, outcome.result) and self._boss is not None:
            agree_to_tls(link, self._boss.backend, context)

    def log_failure(self, message: Request, error: BaseException) -> None:
        self.failures += 1
        name, peer = message.method, self._session.peer_name()
        self._session.failure_log.failed(self._session.log, name, peer, error, self._host.now())


def _request_of(message: Request) -> RPCRequest:
    """Return a request as users' own `handle_request` see it."""
    args = None if message.params is UNSET else message.params
    if message.id is UNSET:
        return RPCRequest(message.method, args)
    return RPCRequest(message.method, args, message.id, answer_null_id=True)
