# SPDX-License-Identifier: MIT
"""Answers each line that comes on standard input, as a server would that socat starts for each connection.

Written without the library, so that nothing of ours judges itself.
"""

import json
import sys

for line in sys.stdin:
    message = json.loads(line)
    if isinstance(message, list):
        answers = [{"jsonrpc": "2.0", "result": one["params"], "id": one["id"]} for one in message if "id" in one]
        print(json.dumps(answers[::-1]), flush=True)
    elif message["method"] == "leave":
        break
    elif message["method"] == "ask":
        print('{"jsonrpc": "2.0", "method": "double", "params": [21], "id": 0}', flush=True)
        answer = json.loads(sys.stdin.readline())
        print(json.dumps({"jsonrpc": "2.0", "result": answer["result"], "id": message["id"]}), flush=True)
    elif message["method"] == "fail":
        error = {"code": -5, "message": "no"}
        print(json.dumps({"jsonrpc": "2.0", "error": error, "id": message["id"]}), flush=True)
    elif "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "result": message["params"], "id": message["id"]}), end="\r\n", flush=True)
