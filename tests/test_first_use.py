# SPDX-License-Identifier: MIT
"""Names that are loaded when they are first used, by several threads at once, and across a fork.

In interpreters of their own, which forget after each round what they have loaded. Only threads that meet at the right
moment show a fault, so there are many rounds; before there was the lock of `tieline.loading` one in thirty failed.
"""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

FORGET = """
import random, sys, threading, types
import tieline, tieline.blocking, tieline.clients, tieline.loading, tieline.serializers, tieline.servers
import tieline.testing

faces = (tieline, tieline.blocking, tieline.clients, tieline.serializers, tieline.servers, tieline.testing)
kept = frozenset(sys.modules)
own = {face: frozenset(vars(face)) for face in faces}

def forget(beginning="tieline."):
    for name in [name for name in sys.modules if name.startswith(beginning) and name not in kept]:
        del sys.modules[name]
    for face in faces:
        for name in vars(face).keys() - own[face]:
            del vars(face)[name]

sys.setswitchinterval(1e-5)
rng = random.Random(20)
failed = []

def use(names, barrier):
    barrier.wait()
    try:
        for face, name in names:
            getattr(face, name)
    except BaseException as error:
        failed.append(f"{face.__name__}.{name}: {error!r}")

def at_once(*parts):
    barrier = threading.Barrier(len(parts))
    threads = [threading.Thread(target=use, args=(part, barrier)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""

# Who begins with a part holds its lock and wants that of the package, and who begins with the package the other way.
PARTS = """
from tieline.loading import loaded

homes = {"First": "circular.first", "Second": "circular.second", "Whole": "circular"}

class Face:
    __name__ = "face"

    def __getattr__(self, name):
        return loaded({"__name__": "face"}, homes, name)

for _ in range(400):
    forget("circular")
    at_once(*([(Face(), name)] for name in homes))
"""

# So it could be with modules of ours, were their packages like that; and with a module that is imported by name.
FRAMERS = """
import importlib

class Modules:
    __name__ = "modules"

    def __getattr__(self, name):
        return importlib.import_module(f"tieline.wire.framing.{name}")

names = [(tieline, name) for name in tieline.__all__ if name.endswith("Framer")]
for _ in range(200):
    forget("tieline.wire.framing")
    at_once([(Modules(), "newline")], *([pick] for pick in rng.sample(names, 3)))
"""

ALL_FACES = """
names = [(face, name) for face in faces for name in face.__all__]
for _ in range(10):
    forget()
    at_once(*(rng.sample(names, 30) for _ in range(4)))
"""

TELL = "if failed:\n    sys.exit('\\n'.join(failed))"


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_threads_may_load_parts_of_one_package_first_at_once(tmp_path: Path) -> None:
    package = tmp_path / "circular"
    package.mkdir()
    (package / "__init__.py").write_text("from circular.first import First as Whole\n")
    (package / "first.py").write_text("from circular import second\nclass First: pass\n")
    (package / "second.py").write_text("class Second: pass\n")
    run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{FORGET}{PARTS}{TELL}")


@pytest.mark.parametrize("rounds", [FRAMERS, ALL_FACES], ids=["framers", "all public modules"])
def test_threads_may_use_names_first_at_once(rounds: str) -> None:
    run(FORGET + rounds + TELL)


FORKS = """
import os, signal

going = True

def load():
    while going:
        forget("tieline.wire.framing")
        tieline.VarintFramer

thread = threading.Thread(target=load)
thread.start()
for _ in range(60):
    if (child := os.fork()) == 0:
        signal.alarm(20)
        tieline.NewlineFramer, tieline.Limits
        os._exit(0)
    if status := os.waitpid(child, 0)[1]:
        failed.append(f"a child ended with {status}")
        break
going = False
thread.join()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_child_that_is_forked_while_another_thread_loads_can_load() -> None:
    run(FORGET + FORKS + TELL)


def test_public_modules_are_loaded_as_names_are() -> None:
    run(
        "import tieline, tieline.loading\n"
        "for name in tieline.loading.FACES:\n"
        "    assert name in dir(tieline)\n"
        "    assert getattr(tieline, name).__name__ == f'tieline.{name}'"
    )


ELSEWHERE = [
    ("tieline", "TCPNetworkClient", "it is in tieline.clients"),
    ("tieline.blocking", "Methods", "it is in tieline"),
    ("tieline.clients", "connect", "it is in tieline and tieline.blocking"),
]


@pytest.mark.parametrize(("face", "name", "lead"), ELSEWHERE, ids=[name for _, name, _ in ELSEWHERE])
def test_who_looks_in_the_wrong_module_is_led_to_the_right_one(face: str, name: str, lead: str) -> None:
    for loaded in ("tieline", "tieline.blocking", "tieline.clients"):
        importlib.import_module(loaded)
    with pytest.raises(AttributeError, match=f"^module '{face}' has no attribute '{name}': {lead}$"):
        getattr(importlib.import_module(face), name)


def test_to_ask_for_a_name_that_is_not_there_loads_nothing() -> None:
    run(
        "import sys, tieline, tieline.loading\n"
        "before = {*sys.modules}\n"
        "assert not hasattr(tieline, 'TCPNetworkClientt') and before == {*sys.modules}"
    )


def test_a_name_that_is_not_there_is_told_as_python_does() -> None:
    run("import tieline.clients\ntry: tieline.clients.TCPClient\nexcept AttributeError as error: assert str(error) == "
        "\"module 'tieline.clients' has no attribute 'TCPClient'\"\nelse: raise AssertionError")  # fmt: skip
