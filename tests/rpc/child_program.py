# SPDX-License-Identifier: MIT
"""A child that speaks JSON-RPC over its standard streams, and behaves as badly as its first argument says.

It uses nothing of ours, and little of the standard library, so that it starts at once.
"""

import json
import os
import signal
import sys
import time


def answer(request: dict) -> object:
    method, params = request["method"], request.get("params", [])
    if method == "add":
        return sum(params)
    if method == "echo":
        return params[0]
    if method == "pid":
        return os.getpid()
    if method == "environment":
        return [os.environ.get("TIELINE_TEST"), os.getcwd(), sys.argv[2:]]
    if method == "stderr":  # so many bytes of it, in lines of a kilobyte
        line = b"x" * 1023 + b"\n"
        for _ in range(params[0] // 1024):
            os.write(2, line)
        return params[0]
    if method == "say":
        os.write(2, params[0].encode())
        return None
    if method == "close_stderr":
        os.close(2)
        return None
    if method == "print":
        sys.stdout.write(params[0])
        return None
    if method == "leave":
        sys.exit(params[0])
    if method == "grandchild":  # which holds all pipes, and minds nothing
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(60)
        return pid
    if (
        method == "jobs"
    ):  # groups of their own, as a shell with job control makes them: one that minds nothing, one that does
        pids = []
        for is_stubborn in (False, True):
            pid = os.fork()
            if not pid:
                os.setpgid(0, 0)
                if is_stubborn:
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.write(1, b'{"jsonrpc":"2.0","method":"ready"}\n')
                while True:
                    time.sleep(60)
            pids.append(pid)
        return pids
    if method == "flooders":  # which go on for ever
        for _ in range(4):
            if not os.fork():
                line = b'{"jsonrpc":"2.0","method":"flood"}\n' * 100
                while True:
                    os.write(1, line)
        return None
    if method == "orphan":  # which ends as soon as its parent has, and then nobody may wait for it
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            for fd in range(3):
                os.close(fd)
            while os.getppid() == parent:
                time.sleep(0.001)
            os._exit(0)
        return pid
    if method == "close_stdout":
        os.close(1)
        while True:
            time.sleep(60)
    if method == "hang":
        while True:
            time.sleep(60)
    raise KeyError(method)


def serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        result = answer(request)
        if "id" in request:
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}) + "\n")
            sys.stdout.flush()


mode = sys.argv[1] if len(sys.argv) > 1 else ""
if mode == "dead":
    sys.exit("never was")
if mode == "deaf":  # reads nothing, for ever
    sys.stderr.write("deaf\n")
    sys.stderr.flush()
    while True:
        time.sleep(60)
if "stubborn" in mode:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
serve()
if "stays" in mode or "stubborn" in mode:  # though nobody says anything any more
    while True:
        time.sleep(60)
