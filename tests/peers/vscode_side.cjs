// SPDX-License-Identifier: MIT
// What a connection of vscode-jsonrpc answers, whichever side has opened it.
"use strict";

const { createRequire } = require("node:module");
const net = require("node:net");
const path = require("node:path");

exports.load = (folder) => createRequire(path.join(folder, "package.json"))("vscode-jsonrpc/node");

// A connection over a socket, with handlers. `say` hears what it notices: a word, and what there is to tell of it.
exports.connection = (rpc, socket, say) =>
  talk(rpc, new rpc.SocketMessageReader(socket), new rpc.SocketMessageWriter(socket), say);

// The same over a stream for each direction.
exports.overStreams = (rpc, input, output, say) =>
  talk(rpc, new rpc.StreamMessageReader(input), new rpc.StreamMessageWriter(output), say);

const talk = (rpc, reader, writer, say) => {
  const { ResponseError } = rpc;
  const noted = [];
  const cancelled = [];
  const it = rpc.createMessageConnection(reader, writer);
  it.onRequest("add", (a, b) => a + b);
  it.onRequest("addNamed", ({ a, b }) => a + b);
  it.onRequest("echo", (value) => value);
  it.onRequest("text", (length) => "x".repeat(length));
  it.onRequest("size", (text) => text.length);
  // Each handler gets a token for cancellation behind its arguments.
  it.onRequest("fail", (...args) => new ResponseError(...args.slice(0, -1)));
  it.onRequest("crash", () => {
    throw new Error("not prepared for this");
  });
  it.onRequest("double", (number) => 2 * number);
  it.onNotification("note", (value) => noted.push(value));
  it.onRequest("notes", () => noted);
  it.onRequest("ask_back", async (number) => {
    await it.sendNotification("note", `asking about ${number}`);
    return it.sendRequest("double", number);
  });
  it.onRequest("fail_back", async () => {
    try {
      await it.sendRequest("fail", -7, "from the caller");
    } catch (error) {
      return `${error.code} ${error.message}`;
    }
    return "no error";
  });
  // Waits until it is taken back; says when it has begun.
  it.onRequest("wait", (name, token) =>
    new Promise((resolve) => {
      it.sendNotification("waiting", name);
      token.onCancellationRequested(() => {
        cancelled.push(name);
        resolve(new ResponseError(-32800, "request cancelled"));
      });
    }),
  );
  it.onRequest("cancelled", () => cancelled);
  it.onClose(() => say("closed"));
  it.onError(([error]) => say("fault", error.message));
  it.listen();
  return it;
};

exports.listen = (serve) => {
  const listener = net.createServer(serve);
  listener.listen(0, "127.0.0.1", () => console.log(listener.address().port));
};

exports.connect = (port) => net.connect(port, "127.0.0.1");
