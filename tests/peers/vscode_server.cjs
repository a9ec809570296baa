// SPDX-License-Identifier: MIT
// A TCP server of vscode-jsonrpc: node vscode_server.cjs <folder of vscode-jsonrpc>. Prints its port, then its events.
"use strict";

const side = require("./vscode_side.cjs");

const rpc = side.load(process.argv[2]);
side.listen((socket) => side.connection(rpc, socket, console.log));
