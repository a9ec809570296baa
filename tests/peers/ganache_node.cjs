// SPDX-License-Identifier: MIT
// A development Ethereum node that asks no other: node ganache_node.cjs <folder of ganache>. Prints its port.
"use strict";

const ganache = require(process.argv[2]);

const server = ganache.server({
  logging: { quiet: true },
  wallet: { totalAccounts: 2, seed: "tieline" },
  chain: { chainId: 1337 },
});
server.listen(0, "127.0.0.1").then(() => console.log(server.address().port));
