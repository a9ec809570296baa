// SPDX-License-Identifier: MIT
// Calls of a client of jayson: node jayson_client.cjs <folder of jayson> <1 or 2> <port of TCP, or URL of a WebSocket>.
// Prints one line of JSON for each: what was asked, and what came of it.
"use strict";

const jayson = require(process.argv[2]);
const version = Number(process.argv[3]);
const where = process.argv[4];
const client = where.startsWith("ws:")
  ? jayson.Client.websocket({ url: where, version })
  : jayson.Client.tcp({ host: "127.0.0.1", port: Number(where), version });

const big = "x".repeat(800000);

// Ask and return [failure, error, result] as jayson tells them.
function ask(...request) {
  return new Promise((resolve) => {
    client.request(...request, (failure, error, result) => resolve([failure, error, result]));
  });
}

async function show(name, ...request) {
  const [failure, error, result] = await ask(...request);
  console.log(JSON.stringify({ name, failure: failure ? String(failure) : null, error, result }));
}

async function main() {
  await show("position", "add", [1, 2]);
  await show("text", "echo", ["Grüße \u{1f600}\n"]);
  await show("nothing", "echo", [null]);
  await show("error", "fail", [-5, "no"]);
  await show("unknown", "nothing_of_that_name", []);
  await show("too few", "add", [1]);
  await show("crash", "crash", []);
  await show("name", "add", { a: 1, b: 2 });
  await show("notification", "note", ["alone"], null);
  await show("own id", "add", [3, 4], 0);
  await show("no version", { method: "add", params: [5, 6], id: "bare" });
  const [, , size] = await ask("size", [big]);
  console.log(JSON.stringify({ name: "big", result: size }));
  const [, , back] = await ask("echo", [big]);
  console.log(JSON.stringify({ name: "big back", result: back === big }));
  const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => ask("add", [n, 1])));
  console.log(JSON.stringify({ name: "many", result: answers.every(([, , sum], n) => sum === n + 1) }));
  if (version === 2) {
    await show("batch", [
      client.request("add", [1, 2], "a"),
      client.request("note", ["in the batch"], null),
      client.request("fail", { code: -5, message: "no" }, "f"),
      client.request("add", { a: 3, b: 4 }, 7),
      client.request("nothing_of_that_name", [], null),
    ]);
    if (!client.ws) await show("empty batch", []); // over WebSocket jayson waits for an id in the answer
    // Nobody answers these, and jayson waits for it for ever.
    ask([client.request("note", ["first"], null), client.request("note", ["second"], null)]);
  }
  console.log(JSON.stringify({ name: "end" }));
}

client.ws ? client.ws.once("open", main) : main();
