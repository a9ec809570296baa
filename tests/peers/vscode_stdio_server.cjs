// SPDX-License-Identifier: MIT
// A server of vscode-jsonrpc on standard input and output: node vscode_stdio_server.cjs <folder of vscode-jsonrpc>.
"use strict";

const side = require("./vscode_side.cjs");

const rpc = side.load(process.argv[2]);
side.overStreams(rpc, process.stdin, process.stdout, console.error);
