# SPDX-License-Identifier: MIT
"""What every test gets: `async def` tests on each event loop, limits, a search for leaks, `need` for foreign programs.

Async tests do not run through anyio's plugin: it cannot fail a test for what the loop's exception handler heard
("Task exception was never retrieved" and its kin), and just those are the faults that this library must not have.
Async fixtures are left out on purpose: a test enters an async context manager.
"""

import asyncio
import faulthandler
import gc
import importlib.util
import inspect
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import hypothesis  # looks for referrers when it is imported: must be before gc.freeze() below
import pytest
import trio

from tests.ids import ADDRESS
from tests.loops import Runtime, TrioRuntime, runtimes
from tests.width import mark_wide

if TYPE_CHECKING:
    from tests.certificates import Certificates

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So it is when a shell starts the tests in the background, and the programs that they start would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Other tests run beside these, and a machine may be busy: that says nothing about what is tested.
hypothesis.settings.register_profile(
    "busy", hypothesis.settings(), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy")

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".peers"  # filled by tools/peers.sh


# --- async tests -----------------------------------------------------------------------------------------------------


@pytest.fixture
def runtime(request: pytest.FixtureRequest) -> Runtime | TrioRuntime:
    """Give what runs coroutine functions: `runtime.run(async_fn, *args)`; every async test runs through it."""
    return cast("Runtime", request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have tests run on every runtime: on trio too if their file does not name asyncio, and they are not marked so."""
    chosen_by_test = any("runtime" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "runtime" in metafunc.fixturenames and not chosen_by_test:
        chosen: list[Runtime | TrioRuntime] = [*runtimes()]
        names_asyncio = getattr(metafunc.module, "asyncio", None) is asyncio
        if not names_asyncio and not metafunc.definition.get_closest_marker("asyncio_only"):
            chosen.append(TrioRuntime())
        metafunc.parametrize("runtime", chosen, ids=str, indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage meanwhile: nearly all that is made stays, and looking at it again and again takes seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is wide; refuse names that another process would give otherwise: tests could not run side by side."""
    mark_wide(items)
    if wrong := [item.nodeid for item in items if ADDRESS.search(item.nodeid)]:
        raise pytest.UsageError("addresses in names of tests; ids=tests.ids.plain_repr helps:\n" + "\n".join(wrong))


def _coroutine_function(function: Any) -> Any:
    """Return the coroutine function in a test, also under hypothesis's `@given`, or None."""
    inner = function.hypothesis.inner_test if hasattr(function, "hypothesis") else function
    inner = getattr(inner, "original", inner)
    return inner if inspect.iscoroutinefunction(inner) else None


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> None:
    if collector.istestfunction(obj, name) and _coroutine_function(obj) is not None:
        pytest.mark.usefixtures("runtime")(obj)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    function = _coroutine_function(pyfuncitem.obj)
    if function is None:
        return None
    chosen = cast("Runtime", pyfuncitem.funcargs["runtime"])
    if hasattr(pyfuncitem.obj, "hypothesis"):
        # Hypothesis calls its inner test once an example: each gets a fresh loop.
        def run_example(*args: Any, **kwargs: Any) -> None:
            chosen.run(lambda: function(*args, **kwargs))

        run_example.original = function  # type: ignore[attr-defined]  # found again by the next parameter's run
        pyfuncitem.obj.hypothesis.inner_test = run_example
        return None
    names = pyfuncitem._fixtureinfo.argnames
    chosen.run(lambda: pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


# --- tests that are stuck --------------------------------------------------------------------------------------------

# Seconds. Async tests end by themselves after 60 (tests/loops.py); this is for a blocked thread: CI never hangs.
STUCK = 150.0
_stderr = pytest.StashKey[int]()
_watched_since = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_stderr] = os.dup(2)  # before it is captured


def pytest_unconfigure(config: pytest.Config) -> None:
    faulthandler.cancel_dump_traceback_later()
    os.close(config.stash[_stderr])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """End the process, with the stacks of all threads, when a test takes much too long.

    pytest's own `faulthandler_timeout` starts and joins a thread for each test, which takes as long as a quick test.
    Here one thread watches all that begin within five seconds.
    """
    now, stash = time.monotonic(), item.config.stash
    if now - stash.get(_watched_since, -math.inf) > 5:
        stash[_watched_since] = now
        faulthandler.dump_traceback_later(STUCK, file=stash[_stderr], exit=True)


# --- leaks -----------------------------------------------------------------------------------------------------------

# Seconds that what ends by itself, as a thread, is given to do so.
SETTLES = 1.0


def pytest_collection_finish() -> None:
    """Make the first test like all others.

    uvloop opens a pipe with the first loop of a process and keeps it; and what was imported is taken out of the
    collector's sight, so that a collection in each async test costs little.
    """
    gc.collect()
    gc.freeze()  # before those too, which collect each
    for each in runtimes():
        each.run(asyncio.sleep, 0)
    TrioRuntime().run(trio.sleep, 0)
    gc.collect()
    gc.freeze()


_unfrozen = pytest.StashKey[int]()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Take what tests have left out of the collector's sight too, now and then: pytest keeps much of every test.

    Without it the collection at the end of an async test takes thirty milliseconds in the second half of a run, and if
    it waited for the end of a file, two in a long one.
    """
    item.config.stash[_unfrozen] = item.config.stash.get(_unfrozen, 0) + 1
    if nextitem is not None and (nextitem.path != item.path or item.config.stash[_unfrozen] >= 20):
        item.config.stash[_unfrozen] = 0
        gc.collect()
        gc.freeze()


def _open_files() -> set[tuple[int, int, int]]:
    """Return this process's descriptors, each with what tells its file from others (Linux only)."""
    found = set()
    for name in os.listdir("/proc/self/fd") if sys.platform == "linux" else ():
        fd = int(name)
        try:
            status = os.fstat(fd)
        except OSError:  # the descriptor that listed the folder
            continue
        found.add((fd, status.st_dev, status.st_ino))
    return found


def _file(fd: int) -> str:
    """Tell what a descriptor points to: only of those that are left, since it takes four times as long to ask."""
    try:
        return f"fd {fd} -> {os.readlink(f'/proc/self/fd/{fd}')}"
    except FileNotFoundError:  # closed meanwhile
        return f"fd {fd}"


def _children() -> set[str]:
    """Return this process's children, zombies too (Linux only)."""
    found: set[str] = set()
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # which takes away nothing
    except ChildProcessError:  # none at all: told much sooner than by reading what each thread has
        return found
    except AttributeError:  # no such function
        pass
    for task in Path("/proc/self/task").glob("*/children") if sys.platform == "linux" else ():
        try:
            found |= {f"child process {pid}" for pid in task.read_text().split()}
        except OSError:  # the thread ended meanwhile
            continue
    return found


def _held() -> set[str | tuple[int, int, int]]:
    # trio keeps the threads of its `to_thread` for the next call.
    threads = {f"thread {one!r}" for one in threading.enumerate() if not one.name.startswith("Trio thread")}
    return _open_files() | threads | _children()


_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_failed] = True
    return report


@pytest.fixture(autouse=True)
def _no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that leaves a descriptor, a thread or a child process behind."""
    before = _held()
    yield
    if request.node.stash.get(_failed, False):
        return  # its traceback keeps things alive, and it has said enough
    left = _held() - before
    patience = time.monotonic() + SETTLES
    while left and time.monotonic() < patience:
        gc.collect()  # garbage still holds it, or a thread is about to end
        left = _held() - before
        if left:
            time.sleep(0.01)
    if left:
        told = sorted(one if isinstance(one, str) else _file(one[0]) for one in left)
        pytest.fail("left behind by the test: " + ", ".join(told), pytrace=False)


# --- certificates ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> "Certificates":
    """Give the paths of certificates, made when they are asked for."""
    from tests.certificates import Certificates  # trustme takes a tenth of a second to import

    return Certificates(tmp_path_factory.mktemp("certificates"))


# --- foreign programs ------------------------------------------------------------------------------------------------


def _find(name: str) -> Path | None:
    if (PEERS / "node_modules" / name).is_dir():
        return PEERS / "node_modules" / name
    # Debian's users do not look where it has daemons.
    if program := shutil.which(name) or shutil.which(name, path="/usr/sbin"):
        return Path(program)
    spec = importlib.util.find_spec(name)
    return Path(spec.origin) if spec and spec.origin else None


@pytest.fixture(scope="session")
def need() -> Callable[[str, str], Path]:
    """Give `need(name, how_to_get_it)`: find a program, a package of npm or a Python module, or end the test.

    It answers with the place (for npm, the folder in node_modules). What is missing skips the test on a laptop, with
    the reason, and fails it where CI is set: there nothing may be left out silently.
    """

    def need(name: str, how_to_get_it: str) -> Path:
        if found := _find(name):
            return found
        reason = f"{name} is missing: {how_to_get_it}"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)

    return need
