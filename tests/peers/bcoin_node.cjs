// SPDX-License-Identifier: MIT
// A bcoin node of the network `regtest`: node bcoin_node.cjs <folder of bcoin> [host:port].
// Prints the port of its peer-to-peer server; given an address, it dials that as well.
// Reads lines `<command> <bytes> [checksum in hex]`, and sends each peer such a message of zeros.
"use strict";

process.env.NODE_BACKEND = "js"; // for hashes: the native ones were not built

const { createRequire } = require("node:module");
const path = require("node:path");
const readline = require("node:readline");

// Nor was the database, which a chain in memory does not open.
const leveldown = createRequire(path.join(process.argv[2], "package.json")).resolve("leveldown");
require.cache[leveldown] = { id: leveldown, filename: leveldown, loaded: true, exports: null };

const bcoin = require(process.argv[2]);

const chain = new bcoin.Chain({ network: "regtest", memory: true });
const pool = new bcoin.Pool({
  chain,
  listen: true,
  host: "127.0.0.1",
  seeds: [],
  nodes: process.argv.slice(3),
});
pool.options.port = 0; // a free one; as an argument it is refused
// It would ask a name server of the internet for its own address.
pool.discoverExternal = async () => {};
pool.on("listening", ({ port }) => console.log(port));
pool.on("peer open", (peer) => console.log(`open: ${peer.agent} ${peer.version}`));
pool.on("ban", () => console.log("banned"));

async function main() {
  await chain.open();
  await pool.open();
  await pool.connect();
  pool.startSync();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [command, size, checksum] = line.split(" ");
    const more = checksum === undefined ? [] : [Buffer.from(checksum, "hex")];
    for (let peer = pool.peers.head(); peer; peer = peer.next) {
      peer.write(peer.framePacket(command, Buffer.alloc(Number(size)), ...more));
    }
  }
}

main();
