// SPDX-License-Identifier: MIT
// A server of jayson, of TCP or of WebSocket: node jayson_server.cjs <folder of jayson> <1 or 2> [ws]. Prints its port.
"use strict";

const jayson = require(process.argv[2]);
const version = Number(process.argv[3]);

const noted = [];
const waiting = [];

// Arguments by position or by name, as the given names say.
const args = (params, ...names) => (Array.isArray(params) ? params : names.map((name) => params[name]));

const server = new jayson.Server(
  {
    add(params, done) {
      const [a, b] = args(params, "a", "b");
      done(null, a + b);
    },
    echo(params, done) {
      done(null, args(params, "value")[0]);
    },
    fail(params, done) {
      const [code, message, data] = args(params, "code", "message", "data");
      done(data === undefined ? { code, message } : { code, message, data });
    },
    badError(params, done) {
      done("a bare string");
    },
    note(params, done) {
      noted.push(params[0]);
      done();
    },
    notes(params, done) {
      done(null, noted);
    },
    // Answered by `release`, behind its own answer.
    wait(params, done) {
      waiting.push(() => done(null, params[0]));
    },
    release(params, done) {
      done(null, waiting.length);
      for (const answer of waiting.splice(0).reverse()) answer();
    },
  },
  { version },
);

if (process.argv[4] === "ws") {
  const listener = server.websocket({ host: "127.0.0.1", port: 0 });
  listener.on("listening", () => console.log(listener.address().port));
} else {
  const listener = server.tcp();
  listener.listen(0, "127.0.0.1", () => console.log(listener.address().port));
}
