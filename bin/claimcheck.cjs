#!/bin/sh
":" //; exec node -- "$0" "$@"
// Text to JavaScript, and to sh the way to start it: without the "--" Node.js looks for an --env-file of its own among our
// arguments. It ends where that file is not there, and does to this process what NODE_OPTIONS in it says.

// The entry is JavaScript that every Node.js can read, so that one that is too old is told in a sentence; and CommonJS,
// so that the published command never starts Node's loader of modules.
const { existsSync } = require("node:fs");
const { enableCompileCache } = require("node:module");
const { homedir } = require("node:os");
const { join } = require("node:path");

// Without a listener Node.js answers this signal by opening its inspector on loopback, where everybody on the host can
// read whatever this process holds.
process.on("SIGUSR1", () => {});

const sources = join(__dirname, "main.ts");
const fromSources = existsSync(sources);
const [wantedMajor, wantedMinor] = fromSources ? [22, 18] : [20, 19];
const [major, minor] = process.versions.node.split(".").map(Number);

if (major < wantedMajor || (major === wantedMajor && minor < wantedMinor)) {
  console.error(
    `claimcheck: Node.js ${wantedMajor}.${wantedMinor} or newer is needed, this is ${process.versions.node}`,
  );
  process.exit(125);
}

// In the user's own folder: what is loaded from a cache that others can write to is code of theirs.
enableCompileCache?.(join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "claimcheck"));
if (fromSources) import(sources);
else require("./main.cjs");
