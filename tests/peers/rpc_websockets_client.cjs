// SPDX-License-Identifier: MIT
// Calls of a client of rpc-websockets: node rpc_websockets_client.cjs <folder of rpc-websockets> <URL>.
// Prints one line of JSON for each: what was asked, and what came of it.
"use strict";

const { Client } = require(process.argv[2]);
const client = new Client(process.argv[3], { reconnect: false });

async function show(name, work) {
  let line;
  try {
    line = { name, result: await work() };
  } catch (error) {
    line = { name, error: { code: error.code, message: error.message } };
  }
  console.log(JSON.stringify(line));
}

client.on("close", (code, reason) => console.log(JSON.stringify({ name: "closed", result: [code, String(reason)] })));
client.on("open", async () => {
  await show("position", () => client.call("add", [1, 2]));
  await show("name", () => client.call("add", { a: 3, b: 4 }));
  await show("text", () => client.call("echo", ["Grüße \u{1f600}\n"]));
  await show("unknown", () => client.call("nothing_of_that_name"));
  await show("error", () => client.call("fail", [-5, "no"]));
  await show("big", () => client.call("size", ["x".repeat(800000)]));
  await show("many", async () => {
    const sums = await Promise.all(Array.from({ length: 50 }, (_, n) => client.call("add", [n, 1])));
    return sums.every((sum, n) => sum === n + 1);
  });
  await client.notify("note", ["from rpc-websockets"]);
  await show("end", () => true);
});
