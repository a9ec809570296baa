// SPDX-License-Identifier: MIT
// A server of rpc-websockets: node rpc_websockets_server.cjs <folder of rpc-websockets>. Prints its port.
"use strict";

const { Server } = require(process.argv[2]);

const server = new Server({ host: "127.0.0.1", port: 0 });
const noted = [];

server.register("add", ([a, b]) => a + b);
server.register("echo", ([value]) => value);
server.register("named", ({ a, b }) => a - b);
server.register("note", ([value]) => void noted.push(value));
server.register("notes", () => noted);
server.register("fail", () => {
  throw new Error("not today");
});
// An event of its own kind, which is no JSON-RPC, to all who have subscribed to it.
server.event("tick");
server.register("tick", ([value]) => {
  server.emit("tick", value);
  return true;
});

server.on("listening", () => console.log(server.wss.address().port));
