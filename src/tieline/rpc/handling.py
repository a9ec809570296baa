# SPDX-License-Identifier: MIT
"""Handling what the peer asks: from a request to a handler, from a handler's outcome to an answer.

Plain handlers run at once, async ones as tasks; all START in the order in which their requests came. Whatever a
handler does, its request is answered exactly once, or the connection is closed.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from inspect import isawaitable, iscoroutine
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec import UNSET, Raw

from tieline.errors import ClosedError, ConnectionLost, LocalProtocolError, RPCError, TielineError
from tieline.rpc.methods import Method
from tieline.rpc.outcomes import ArgumentsError, ReplyAndDisconnect, unknown_method
from tieline.rpc.securing import INJECTED, ReplyAndStartTLS, agree_to_tls, check_open, obstacle
from tieline.rpc.tasks import Tasks
from tieline.rpc.walking import Walk, current_walk
from tieline.runtimes.fatal import fatal_in
from tieline.wire.default import NOTHING
from tieline.wire.jsonrpc.ahead import id_taken_back
from tieline.wire.jsonrpc.codecs import MsgspecCodec
from tieline.wire.jsonrpc.items import RPCRequest
from tieline.wire.jsonrpc.reading import PLAIN_IDS, Request
from tieline.wire.jsonrpc.writing import LONGEST_SETTLED, Reply, Settled
from tieline.wire.states import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tieline.rpc.hints import Convert
    from tieline.rpc.roles import Boss, CallOwner
    from tieline.runtimes.hooks import Teller
    from tieline.runtimes.host import Handle, Host
    from tieline.runtimes.link import Link
    from tieline.wire.jsonrpc.dialects import CancelRule
    from tieline.wire.jsonrpc.lone import LoneConnection

__all__ = ["Handling"]

# Handlers that `request_handler` gave, kept with their signatures; a peer that makes up names must not fill the memory.
# Each takes 2 KB, and 4 KB once it is compiled: so this is 1 MB at most for each session, and few have more methods.
MAX_BOUND: Final = 256


class Handling(Tasks):
    """The handlers of one session at work.

    Args:
        session: The session that they belong to.
        link: Its link.
        host: Its host.
        overrides: Which of `handle_request`, `request_handler` and `notification_handler` the session's class defines
            anew; only these are asked.
        boss: Told whenever a task of a handler has ended.

    Attributes:
        cancel_rule: How the peer takes a request back; None = it cannot.
        convert: How an argument becomes what its hint says.
    """

    __slots__ = ("_dialect", "_link", "_session", "cancel_rule", "convert", "may_be_direct")

    _sees_all: bool = False  # `handle_request` is asked about all that comes
    _asks: bool = False  # methods are asked for by name
    _bound: dict[Callable[..., object], Method] | None = None
    _cancelled: list[Request] | None = None  # by the peer, while their handlers run
    _unwanted: list[Request] | None = None  # cancelled by the peer before they were started
    _teller: Teller | None = None

    def __init__(
        self, session: CallOwner, link: Link[LoneConnection], host: Host, overrides: frozenset[str], boss: Boss
    ) -> None:
        machine = link.machine
        super().__init__(host, machine, session.limits.handler_timeout, boss)
        self._session = session
        self._link = link
        # Found anew each time: a class may be patched after its first session was made. The codec stays when
        # auto-detection changes the protocol, and so does what the dialect has words for.
        protocol = machine.protocol
        codec, dialect = protocol.codec, protocol.dialect
        self.convert: Convert = msgspec.convert if codec.__class__ is MsgspecCodec else codec.convert  # the quicker way
        self._dialect = dialect
        self.cancel_rule = dialect.cancel
        # Methods are only looked up by name and invoked where neither the session's class nor the dialect has a say.
        self.may_be_direct = True
        if overrides:
            self._sees_all = "handle_request" in overrides
            self._asks = "request_handler" in overrides or "notification_handler" in overrides
            if self._asks:
                # What it gives is bound when the peer asks; by then there may be no descriptor left to load that with.
                import_module("tieline.rpc.binding")
            if self._sees_all or self._asks:
                self.may_be_direct = machine.is_direct = False
        if dialect.cancel is not None or dialect.echo is not None or dialect.ping is not None:
            self.may_be_direct = machine.is_direct = False
            if dialect.cancel is not None and self._has_own(dialect.cancel.method):
                machine.takes_back = False

    def be_told(self, teller: Teller) -> None:
        self._teller = teller
        self.may_be_direct = self._link.machine.is_direct = False  # each call takes the way on which it is told

    # --- from requests to handlers -------------------------------------------------------------------------------

    def start(self, message: Request) -> None:
        """Start the handler of a request or notification, when it is its turn."""
        if not self._is_done_here(message):
            self.pass_gate(message)

    def begin(self, message: Request, /) -> None:
        if self._teller is not None:
            self._teller.started(message, message.method)
        self._begin(message)

    def _begin(self, message: Request) -> None:
        method: Method | None = None
        if not self._sees_all:
            try:
                method = self.find(message.method, is_notification=message.id is UNSET)
            except BaseException as exc:
                self.failed(message, exc)
                return
            if method is None:
                text = unknown_method(message.method)
                self._fail(message, self._session.protocol.method_not_found(text))
                return
        registered = method or self._session.methods.get(message.method)
        if registered is not None and registered.ordered and message.id is UNSET:
            # A task each, so that each has a context of its own.
            self.start_ordered(message, partial(self._start_task, method, message))
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

    def _is_done_here(self, message: Request) -> bool:
        """Do what the dialect wants of us without any method; return whether that was all."""
        if message.id is UNSET:
            rule = self.cancel_rule
            if rule is None or message.method != rule.method or self._has_own(message.method):
                return False
            self._cancel_by_peer(rule, message.params)
            self.reply(message, None)
            return True
        if self._unwanted and any(other is message for other in self._unwanted):
            self._unwanted = [other for other in self._unwanted if other is not message]
            self._answer_cancelled(message)
            return True
        if message.method == self._dialect.echo and not self._has_own(message.method):
            self.reply(message, [] if message.params is UNSET else message.params)
            return True
        if message.method == self._dialect.ping and not self._has_own(message.method):
            self.reply(message, {})
            return True
        return False

    def _has_own(self, name: str) -> bool:
        """Return whether somebody has registered a method of a name that the dialect has as well."""
        return self._sees_all or self._session.methods.get(name) is not None

    # --- requests that the peer takes back -----------------------------------------------------------------------

    def note_cancelled(self, events: Sequence[Any]) -> None:
        """See which requests among *events* are taken back further behind: they are not to be started."""
        rule = self.cancel_rule
        if rule is None or self._has_own(rule.method):
            return
        asked: dict[tuple[type, object], Request] = {}
        for event in events:
            if not isinstance(event, Request):
                continue
            if event.id is not UNSET:
                asked[event.id.__class__, repr(event.id)] = event
            elif event.method == rule.method:
                wanted = id_taken_back(rule, event.params)
                request = asked.pop((wanted.__class__, repr(wanted)), None)
                if request is not None:
                    self._unwanted = [*(self._unwanted or ()), request]

    def _cancel_by_peer(self, rule: CancelRule, params: object) -> None:
        """Cancel the handler of the request that *params* names, if it runs."""
        wanted = id_taken_back(rule, params)
        request = None if wanted is UNSET else self._link.machine.requests.find(wanted)
        if self._gate is not None and self._gate.take_out(request):
            self._answer_cancelled(cast("Request", request))
            return
        handle = next((handle for handle, other in (self.running or {}).items() if other is request), None)
        if request is None or handle is None:
            return  # it is answered already, or is about to be
        if any(other is request for other in self._cancelled or ()):
            return  # once is enough: its handler may be cleaning up
        self._cancelled = [*(self._cancelled or ()), request]
        handle.cancel()

    def _take_cancelled(self, message: Request) -> bool:
        """Return whether the peer has taken *message* back while its handler ran, and forget it."""
        if not self._cancelled:
            return False
        rest = [other for other in self._cancelled if other is not message]
        is_cancelled = len(rest) < len(self._cancelled)
        self._cancelled = rest or None
        return is_cancelled

    def _answer_cancelled(self, message: Request) -> None:
        """Do with a request that the peer has taken back what the dialect says."""
        code = None if self.cancel_rule is None else self.cancel_rule.code
        if code is None:
            self._drop(message)
        else:
            self._fail(message, RPCError(code, "request cancelled"), costs=False)

    def _drop(self, message: Request) -> None:
        """Leave a request without an answer."""
        if self._teller is not None:
            self._teller.ended(message, None)
        self._link.machine.abandon(message)
        self._link.flush_soon()  # it may have been the last of a batch

    def outlasts_peer(self, message: Request, /) -> bool:
        return _is_notification(message)

    def never_began(self, message: Request) -> None:
        is_taken_back = any(other is message for other in self._cancelled or ())
        if self.take_overdue(message) and not is_taken_back and not self._link.is_lost:
            self.refuse(message)  # its time was over before its first step: this side was that busy

    def _ended(self, handle: Handle) -> None:
        message = (self.running or {}).get(handle)
        super()._ended(handle)
        if message is not None and self._take_cancelled(message) and not self._link.is_lost:
            self._answer_cancelled(message)  # its handler had not even begun

    # --- looking up ----------------------------------------------------------------------------------------------

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
        try:
            method = self._bound.get(found)
        except TypeError:  # it has no hash
            return Method("handler", found, compiled=False)
        if method is None:
            # It may be made for this one call (a lambda, a partial), of which compiling would take most of the time.
            method = self._bound[found] = Method("handler", found, compiled=False)
        elif not method.is_compiled:
            method.compile()
        return method

    def invoke(self, method: Method, params: object) -> Any:
        """Call the function with a peer's arguments; for an async one that gives its coroutine."""
        return method.invoke(params, self._session, self.convert)

    # --- tasks ---------------------------------------------------------------------------------------------------

    def _start_task(self, method: Method | None, message: Request) -> bool:
        """Start a handler as a task; return whether it has ended already."""
        self.expect_first_step(message)
        walk = Walk(message)
        return self.start_walk(walk, self._run(method, message, walk))

    async def _run(self, method: Method | None, message: Request, walk: Walk) -> None:
        self.has_begun(message)
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
        walk.request = None  # what it has left behind is not within it any more

    def let_go(self, session: CallOwner) -> None:
        super().let_go(session)
        self._session = session
        if self._teller is not None:
            self._teller = None

    # --- from outcomes to answers --------------------------------------------------------------------------------

    def reply(self, message: Request, result: object) -> bool:
        """Answer with a result; return False when that was not possible, and another answer was given or none."""
        if self.is_given_up(message):
            return False
        if self._cancelled and self._take_cancelled(message) and self.cancel_rule and self.cancel_rule.code is None:
            self._drop(message)  # it came to its end all the same, and nobody wants to know
            return False
        machine = self._link.machine
        if machine.unanswered > 1 and self._teller is None:
            result = self._put_beside(message, result)
            if result is NOTHING:
                self._link.flush_soon()
                return True
        # What nobody is told any more ends with the connection, which tells its hooks so.
        tells = self._teller is not None and (machine.state <= State.DRAINING or message.id is UNSET)
        is_sent = self._note_replied(message, result, machine.reply(message, result), tells)
        self._link.flush_soon()
        return is_sent

    def _note_replied(self, message: Request, result: object, problem: Exception | None, tells: bool) -> bool:
        """Tell hooks and the log what came of a reply; return whether the *result* is what was sent.

        Not in `reply`, to whose frame the *problem* refers by its traceback.
        """
        if tells and self._teller is not None:
            self._teller.ended(message, self._told_instead(problem))
        if (problem is not None or message.id is UNSET) and iscoroutine(result):  # for a notification no codec is asked
            result.close()
            problem = TypeError("a plain function returned a coroutine, which nobody awaits")
        elif problem is not None and isinstance(result, RPCError):
            problem = TypeError("an RPCError was returned: raise it")
        if problem is not None:
            self.log_failure(message, problem)
        return problem is None

    def reply_beside(self, message: Request, result: object) -> None:
        """Answer one request of several with a result: what it is now leaves with the answers to the others."""
        left = self._put_beside(message, result)
        if left is not NOTHING:
            self.reply(message, left)

    def _put_beside(self, message: Request, result: object) -> object:
        """Put an answer among those that leave together, and return `NOTHING`; or what is to be replied."""
        machine = self._link.machine
        if result.__class__ in machine.plain_results and message.id.__class__ in PLAIN_IDS:
            machine.replies.append(Reply(result, message.id))
            return NOTHING
        if result.__class__ is Settled:
            return result
        encoded = machine.settled(result, message.id)
        if encoded is None:
            return result
        if len(encoded) > LONGEST_SETTLED:
            return Settled(encoded)
        machine.replies.append(Reply(Raw(encoded), message.id))
        return NOTHING

    def failed(self, message: Request, exc: BaseException) -> None:
        """Answer with what a handler raised; what ends the program goes on to do so."""
        try:
            self._answer_failure(message, exc)
        finally:
            if isinstance(exc, RPCError | ReplyAndDisconnect):
                # An answer may be one value that is raised again and again. Each time its traceback grows, by frames
                # that refer to all the arguments.
                exc.__traceback__ = None

    def _answer_failure(self, message: Request, exc: BaseException) -> None:
        if isinstance(exc, ReplyAndDisconnect):
            self._reply_and_disconnect(message, getattr(exc, "result", None))  # a user's constructor may leave it out
            return
        if isinstance(exc, ReplyAndStartTLS):
            self._reply_and_start_tls(message, exc)
            return
        protocol = self._session.protocol
        if self._cancelled and self._take_cancelled(message):
            if not isinstance(exc, Exception):
                self._answer_cancelled(message)
                if (fatal := fatal_in(exc)) is not None:
                    self._host.end_program(fatal)
                return
            if self.cancel_rule is not None and self.cancel_rule.code is None:
                self._drop(message)
                return
        is_ours = False
        if isinstance(exc, RPCError):
            error = exc
        elif isinstance(exc, ArgumentsError):
            error = protocol.args_error(str(exc))
        elif not isinstance(exc, Exception) and self.take_overdue(message):
            text = f"handler cancelled (limit {self._session.limits.handler_timeout} s)"
            error = RPCError(protocol.SERVER_BUSY, text)
            self.log_failure(message, TimeoutError(text))
        elif (
            isinstance(exc, ClosedError)
            and self._link.machine.was_closed_here
            and self._link.machine.state == State.DRAINING
        ):
            # That nothing can be asked of the peer any more is how this side ends, and no failure of the handler.
            error = RPCError(protocol.SERVER_BUSY, "shutting down")
        else:
            # The text of the exception stays here: it may hold what the peer must not know.
            error = protocol.internal_error(None)
            if self._teller is not None:
                error.__cause__ = exc
            is_ours = True  # and nothing that the peer should pay for
            # Behind the end of the connection a call is cancelled, or cannot be answered, as everybody knows by then.
            is_end = not isinstance(exc, Exception) or isinstance(exc, ClosedError | ConnectionLost)
            if not self._link.is_lost or (_is_notification(message) and not is_end):
                self.log_failure(message, exc)
        self._fail(message, error, costs=not is_ours)
        if (fatal := fatal_in(exc)) is not None:
            self._host.end_program(fatal)

    def refuse(self, message: Request, /) -> None:
        text = f"server busy (limit {self._session.limits.handler_timeout} s to wait for a handler)"
        self._fail(message, RPCError(self._session.protocol.SERVER_BUSY, text))

    def _fail(self, message: Request, error: RPCError, *, costs: bool = True) -> None:
        if self.is_given_up(message):
            return
        if error.code == self._session.protocol.SERVER_BUSY and not error.cost:
            # What is busy is this side: were the peer to pay, a database that hangs would get all honest ones cut.
            costs = False
        self._note_failed(message, error, self._link.machine.fail(message, error, costs=costs))
        self._link.flush_soon()

    def _note_failed(self, message: Request, error: RPCError, problem: Exception | None) -> None:
        """As `_note_replied`, of an *error*."""
        if self._teller is not None:
            self._teller.ended(message, error if self._link.machine.instead is None else self._told_instead(problem))
        if problem is not None:
            self.log_failure(message, problem)

    def _told_instead(self, problem: Exception | None) -> Exception | None:
        """Return what the peer was told in the place of an answer, because of *problem*; None = it has got that."""
        machine = self._link.machine
        told, machine.instead = machine.instead, None  # it is told once, and its cause refers to the machine
        if told is None:
            return problem  # it could be told nothing
        told.__cause__ = problem
        return told

    def _reply_and_disconnect(self, message: Request, result: object) -> None:
        if isinstance(result, RPCError):
            self._fail(message, result)
        else:
            self.reply(message, result)
        self._link.close()

    def _reply_and_start_tls(self, message: Request, outcome: ReplyAndStartTLS) -> None:
        link, protocol = self._link, self._session.protocol
        if link.is_lost or self.is_given_up(message):
            return
        try:
            if message.id is UNSET:  # the peer could not know when to begin
                raise LocalProtocolError("a notification has no reply, and so cannot start TLS")
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
        self._session.failure_log.failed(self._session, message.method, error, self._host.now())


def _is_notification(message: Request) -> bool:
    return message.id is UNSET


def _request_of(message: Request) -> RPCRequest:
    """Return a request as users' own `handle_request` see it."""
    args = None if message.params is UNSET else message.params
    if message.id is UNSET:
        return RPCRequest(message.method, args)
    return RPCRequest(message.method, args, message.id, answer_null_id=True)
