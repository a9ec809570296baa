# SPDX-License-Identifier: MIT
"""The registry of methods: what a peer may call, and by which name.

This file owns names and registration. It knows no session, no message and no runtime: a session looks a name up,
invokes what it finds, and turns the outcome into an answer. Only what was registered can be reached: a name is a key,
never a path into objects.
"""

from __future__ import annotations

__all__ = ["Method", "Methods", "check_callers"]

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from tieline.rpc.binding import Binding
    from tieline.rpc.statistics import Statistics

F = TypeVar("F", bound=Callable[..., object])

_REPR_NAMES = 8
_MADE_BY_CODE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class statement, or what does the same


class Method:
    """A function and the name by which peers call it.

    Attributes:
        name: The name on the wire.
        function: The function as it was registered.
        is_async: Whether ``invoke`` returns a coroutine: for ``async def``, methods and partials of such, and objects
            whose ``__call__`` is one. A plain function that returns an awaitable counts as async only if
            `inspect.markcoroutinefunction` (3.12) marked it.
        is_plain: Whether it is neither async nor ordered, so that a call completes it.
        is_walked: Whether it is async and not ordered, so that ``rpc/walking.py`` may run it.
        ordered: Whether notifications of this method are handled one after another in each session: the next one starts
            when the one before has finished, whether of this or of another ordered method. The session does that;
            requests are not affected.
        invoke: ``invoke(params, session, convert=msgspec.convert)`` calls the function with a peer's arguments, as
            `Binding` describes, and returns its result or coroutine; `ArgumentsError` when they do not fit.
        callers: Of which classes the session may be that the function asks for; none = it asks for no session.
        is_compiled: Whether that is code made for this function, which calls it sooner: it is unless *compiled* is
            False, as for what may be called only once, and from `compile` on.

    Raises:
        ValueError: *name* is empty or begins with ``rpc.``, which section 4 of the JSON-RPC 2.0 specification reserves
            for extensions.
        TypeError: *name* is not a string; or a peer cannot call *function*: it is a generator, has no signature, or has
            a type hint that msgspec does not support.
    """

    __slots__ = (
        "_binding",
        "callers",
        "function",
        "invoke",
        "is_async",
        "is_compiled",
        "is_plain",
        "is_walked",
        "name",
        "ordered",
    )

    def __init__(
        self, name: str, function: Callable[..., object], *, ordered: bool = False, compiled: bool = True
    ) -> None:
        _check_name(name)
        if not callable(function):
            raise TypeError(f"method {name!r} must be callable, not {type(function).__name__}")
        if _is(function, inspect.isgeneratorfunction) or _is(function, inspect.isasyncgenfunction):
            raise TypeError(f"method {name!r} is a generator function: a call has one result, not a stream of them")
        self.name = name
        self.function = function
        self.is_async = _is(function, inspect.iscoroutinefunction)
        self.ordered = ordered
        self.is_plain = not self.is_async and not ordered
        self.is_walked = self.is_async and not ordered
        from tieline.rpc.binding import Binding  # lazily: many clients have no methods

        self._binding: Binding | None = Binding(function)
        self.callers = self._binding.callers
        self.is_compiled = False
        # What the handler returns may be anything.
        self.invoke: Callable[..., Any] = self._binding.invoke
        if compiled:
            self.compile()

    def compile(self) -> None:
        """Make the code that calls it sooner. Harmless when it is there."""
        binding, self._binding = self._binding, None
        if binding is not None:
            self.invoke = binding.compiled()
            self.is_compiled = True

    def __repr__(self) -> str:
        notes = (" async" if self.is_async else "") + (" ordered" if self.ordered else "")
        return f"<Method {self.name}{inspect.signature(self.function)}{notes}>"


class Methods:
    """A registry of the methods that a peer may call, by name.

    ::

        methods = tieline.Methods()

        @methods.method
        def add(a: int, b: int) -> int:
            return a + b

    Register functions before serving. Sessions only read it: any number of sessions, in any number of threads, may
    share one registry. Registering while sessions run is safe only in their own thread, and takes effect for later
    calls.

    Attributes:
        lookup: The same as `get`, without a Python function in between: sessions call it for each request.
        statistics: What `offer_statistics` offers; `serve` passes it to its server as hooks. None = nothing.
    """

    __slots__ = ("_table", "lookup", "statistics")

    def __init__(self) -> None:
        self._table: dict[str, Method] = {}
        own = type(self).get is not Methods.get
        self.statistics: Statistics | None = None
        self.lookup: Callable[[str], Method | None] = self.get if own else self._table.get

    @overload
    def method(self, function: F, /) -> F: ...

    @overload
    def method(
        self, /, *, name: str | None = None, ordered: bool = False, replace: bool = False
    ) -> Callable[[F], F]: ...

    def method(
        self,
        function: Callable[..., object] | None = None,
        /,
        *,
        name: str | None = None,
        ordered: bool = False,
        replace: bool = False,
    ) -> Any:  # the overloads say it
        """Register a function, and return it unchanged: ``@methods.method`` or ``@methods.method(name="shop.buy")``.

        The function may be plain or async. Its type hints are enforced: a peer's arguments are converted and checked by
        them before it is called. A parameter that is annotated with a session class receives the calling session.

        Args:
            function: The function, when used without arguments.
            name: The name by which peers call it; None = the function's own.
            ordered: Handle its notifications strictly one after another, in each session; see `Method`.
            replace: Allow a name that is registered already.

        Raises:
            ValueError: The name is taken (unless *replace*), empty or reserved.
            TypeError: A peer cannot call that function, see `Method`; or it has no name of its own and none was given.
        """
        if function is None:
            return functools.partial(self._register, name=name, ordered=ordered, replace=replace)
        return self._register(function, name=name, ordered=ordered, replace=replace)

    def add(self, service: object, prefix: str = "", *, replace: bool = False) -> None:
        """Register the public methods of the object *service*, each as *prefix* and its name.

        Public are the callables that its class and the bases of that define (`object` excepted) under a name without a
        leading underscore: plain, static and class methods. Properties are not evaluated; nested classes, and
        attributes of the instance, are not methods. Either all are registered or none.

        Raises:
            ValueError: A name is taken (unless *replace*), empty or reserved.
            TypeError: *service* is a class, a function, a session, or of a type that is built in (a list of functions),
                or has no public methods, or a peer cannot call one of them, see `Method`.
        """
        if isinstance(service, type):
            raise TypeError(f"add() takes an object, not a class: did you mean {service.__name__}()?")
        if inspect.isroutine(service):
            raise TypeError(f"add() takes an object with methods: did you mean method({service.__name__})?")
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a str, not {type(prefix).__name__}")
        _check_service(service)
        added = [Method(prefix + name, function) for name, function in _public_methods(service)]
        if not added:
            raise TypeError(f"{type(service).__name__} has no public methods")
        if not replace:
            for method in added:
                self._check_free(method.name)
        self._table.update((method.name, method) for method in added)

    def offer_discovery(
        self, *, title: str = "JSON-RPC service", version: str = "0", description: str | None = None
    ) -> None:
        """Let peers discover the methods: from now on ``rpc.discover`` is answered with an OpenRPC document.

        It describes all methods, including those that are registered later, by their names, type hints, defaults and
        docstrings: every peer may read these. Parameters that take the session are not shown. When it is called again,
        the last call counts.

        Args:
            title: The name of the service.
            version: The version of the service.
            description: More about the service.
        """
        from tieline.rpc.discovery import DISCOVER, Discovery  # lazily: most registries offer none

        discovery = Method("discover", Discovery(self._table, title, version, description).discover)
        discovery.name = DISCOVER  # a reserved name, and this is what it is reserved for
        self._table[DISCOVER] = discovery

    def withdraw_discovery(self) -> None:
        """Undo `offer_discovery`; harmless if it was not called."""
        from tieline.rpc.discovery import DISCOVER

        self._table.pop(DISCOVER, None)

    def offer_statistics(self, statistics: Statistics | None = None) -> Statistics:
        """Let peers read the statistics of the server, as ``tieline top`` does: ``rpc.statistics`` is answered.

        Call it before `serve`, which counts from then on; pass the result to your own `Server` as ``hooks=``. Every
        peer may read the statistics, including the addresses of other peers. If you do not want that, offer them in a
        separate registry, on a socket that only you can reach, and count the other server: ``serve(methods, url,
        hooks=statistics)``. When it is called again, the last call counts.

        Args:
            statistics: The statistics to offer; None = new ones.

        Returns:
            The statistics that are offered.
        """
        from tieline.rpc.statistics import STATISTICS, Statistics  # lazily: most registries offer none

        self.statistics = statistics = Statistics() if statistics is None else statistics
        method = Method("statistics", statistics.told)
        method.name = STATISTICS  # as above
        self._table[STATISTICS] = method
        return statistics

    def withdraw_statistics(self) -> None:
        """Undo `offer_statistics`; harmless if it was not called."""
        from tieline.rpc.statistics import STATISTICS

        self.statistics = None
        self._table.pop(STATISTICS, None)

    def get(self, name: str) -> Method | None:
        """Return the method of exactly that name, or None."""
        return self._table.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._table

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in the order of their registration."""
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        names = [*self._table][:_REPR_NAMES]
        if len(names) < len(self._table):
            names.append(f"and {len(self._table) - len(names)} more")
        return f"<Methods {', '.join(names)}>" if names else "<Methods (none)>"

    def _register(self, function: F, *, name: str | None, ordered: bool, replace: bool) -> F:
        if isinstance(function, str):
            raise TypeError(f"method() takes a function: did you mean @methods.method(name={function!r})?")
        if not callable(function):
            raise TypeError(f"method() takes a function, not {type(function).__name__}")
        if name is None:
            name = getattr(function, "__name__", None)
            if name is None or name == "<lambda>":
                raise TypeError(f"a {type(function).__name__} without a name of its own needs name=")
        method = Method(name, function, ordered=ordered)
        if not replace:
            self._check_free(name)
        self._table[name] = method
        return function

    def _check_free(self, name: str) -> None:
        if name in self._table:
            raise ValueError(f"method {name!r} is registered already; pass replace=True to replace it")


def check_callers(methods: Methods, served: type, lead: str) -> None:
    """Refuse methods that want sessions of a class of the user's where all are plainly of the class *served*.

    What wants a class of blocking code on an asynchronous server, or the other way round, gets one that does the same.

    Args:
        methods: The registry.
        served: The class of the sessions.
        lead: The advice, in which ``{0}`` is the class that is wanted.

    Raises:
        TypeError: There is one.
    """
    for name in methods:
        method = methods.get(name)
        wanted = () if method is None else method.callers
        own = [kind.__name__ for kind in wanted if issubclass(kind, served)]
        if own and not any(issubclass(served, kind) for kind in wanted):
            raise TypeError(
                f"method {name!r} wants a session of class {own[0]}, and a registry is served with sessions of class "
                f"{served.__name__}: {lead.format(own[0])}"
            )


def _check_service(service: object) -> None:
    from tieline.rpc.session_classes import Caller  # lazily: most registries are of functions

    kind = type(service)
    # Their methods are nobody's service: of a list, peers could clear it. (A class that `exec` has made may be of that
    # module as well.)
    if kind.__module__ == "builtins" and not kind.__flags__ & _MADE_BY_CODE:
        raise TypeError(
            f"add() takes an object of a class with methods for peers, not {kind.__name__}: functions are registered "
            "one by one, by method()"
        )
    if isinstance(service, Caller):
        raise TypeError(f"add() takes an object with methods for peers, and {kind.__name__} is a session")


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of a method must be a str, not {type(name).__name__}")
    if not name:
        raise ValueError("the name of a method must not be empty")
    if name.startswith("rpc."):
        # JSON-RPC 2.0, section 4: such names are for extensions and must not be used for anything else.
        raise ValueError(f"method {name!r}: the JSON-RPC 2.0 specification reserves names that begin with 'rpc.'")


def _is(function: Callable[..., object], question: Callable[[object], bool]) -> bool:
    """Ask *question* of a function, or of the ``__call__`` of an object; partials and methods are seen through."""
    while isinstance(function, functools.partial):
        function = function.func
    return question(function) or (not isinstance(function, type) and question(type(function).__call__))


def _public_methods(service: object) -> Iterator[tuple[str, Callable[..., object]]]:
    kind = type(service)
    seen: set[str] = set()
    for base in kind.__mro__[:-1]:  # the last is object
        for name, raw in vars(base).items():
            if name.startswith("_") or name in seen:
                continue
            seen.add(name)  # also when it is no method: `name = None` in a class hides the method of its base
            if _is_method(raw):
                # Bound by hand: attribute access could run a __getattr__, or find another object in the instance.
                bind = getattr(raw, "__get__", None)
                yield name, raw if bind is None else bind(service, kind)


def _is_method(raw: object) -> bool:
    if isinstance(raw, classmethod | functools.partialmethod):
        return True  # callable only when bound
    return callable(raw) and not isinstance(raw, type)
