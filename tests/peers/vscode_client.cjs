// SPDX-License-Identifier: MIT
// Calls of a client of vscode-jsonrpc: node vscode_client.cjs <folder of vscode-jsonrpc> <port>, over TCP, or
// node vscode_client.cjs <folder> <program> <argument> ... to start a server and speak over its standard streams.
// Prints one line of JSON for each: what was asked, and what came of it.
"use strict";

const { spawn } = require("node:child_process");
const side = require("./vscode_side.cjs");

const rpc = side.load(process.argv[2]);
const [where, ...args] = process.argv.slice(3);
const child = args.length ? spawn(where, args, { stdio: ["pipe", "pipe", "inherit"] }) : null;
const tell = (name, told) => print(name, { told });
const it = child
  ? side.overStreams(rpc, child.stdout, child.stdin, tell)
  : side.connection(rpc, side.connect(Number(where)), tell);

const big = "ü".repeat(400000);

const print = (name, outcome) => console.log(JSON.stringify({ name, ...outcome }));

// What comes of a call: {result} or {error}.
async function outcome(answer) {
  try {
    return { result: await answer };
  } catch ({ code, message, data }) {
    return { error: { code, message, data } };
  }
}

const show = async (name, method, ...params) => print(name, await outcome(it.sendRequest(method, ...params)));

async function main() {
  await show("position", "add", 1, 2);
  await show("name", "add", { a: 3, b: 4 });
  await show("text", "echo", "Grüße \u{1f600}\n");
  await show("nothing", "echo", null);
  await show("error", "fail_with_data", -5, "nö");
  await show("unknown", "nothing_of_that_name");
  await show("too few", "add", rpc.ParameterStructures.byPosition, 1);
  await show("crash", "crash");
  await it.sendNotification("note", "alone");
  await it.sendNotification("note", "ü \u{1f600}");
  await show("notes", "notes");
  await show("asked back", "ask_back", 21);
  await show("failed back", "fail_back");
  print("big", { result: await it.sendRequest("size", big) });
  print("big back", { result: (await it.sendRequest("echo", big)) === big });
  const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => it.sendRequest("add", n, 1)));
  print("many", { result: answers.every((sum, n) => sum === n + 1) });

  const source = new rpc.CancellationTokenSource();
  const waiting = new Promise((resolve) => it.onNotification("waiting", resolve));
  const answer = outcome(it.sendRequest("wait", "taken back", source.token));
  await waiting;
  source.cancel();
  print("cancelled", await answer);

  if (child) {
    child.on("exit", (code, signal) => print("ended", { code, signal }));
    child.stdin.end();
  }
}

it.onNotification("end", () => it.end());

main();
