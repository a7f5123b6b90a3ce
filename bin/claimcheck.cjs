#!/bin/sh
":" //; for arg; do case ${arg%%=*} in --experimental-config-file|--experimental-default-config-file) echo "claimcheck: The command line is invalid: Node.js would read ${arg%%=*} for itself; give the container's command as the text of a sh -c, or in a plan [usage]" >&2; exit 125;; esac; done
":" //; exec "${CLAIMCHECK_NODE:-node}" -- "$0" "$@"
// Text to JavaScript, and to sh the way to start it: without the "--" Node.js looks for an --env-file of its own among our
// arguments. It ends where that file is not there, and does to this process what NODE_OPTIONS in it says.
// A configuration file of its own it looks for behind the "--" too, and runs code that this one names: that is refused before.

// The entry is JavaScript that every Node.js can read, so that one that is too old is told in a sentence; and CommonJS,
// so that the published command never starts Node's loader of modules.
const { existsSync, readFileSync } = require("node:fs");
const { enableCompileCache } = require("node:module");
const { homedir } = require("node:os");
const { join } = require("node:path");

// Without a listener Node.js answers this signal by opening its inspector on loopback, where everybody on the host can
// read whatever this process holds.
process.on("SIGUSR1", () => {});

const sources = join(__dirname, "main.ts");
const fromSources = existsSync(sources);
const [major, minor] = process.versions.node.split(".").map(Number);

if (major < 22 || (major === 22 && minor < 18)) {
  console.error(
    `claimcheck: Claimcheck needs Node.js 22.18 or newer, and this is ${process.versions.node}: install a newer one from https://nodejs.org and put it first on the PATH [unsupported_host]`,
  );
  process.exit(125);
}

const taken = takenByNode();
if (taken !== undefined) {
  console.error(
    `claimcheck: The command line is invalid: Node.js has read ${taken} for itself; ` +
      (taken.startsWith("--env-file")
        ? `start claimcheck by its own name, or write "--" before its file, as in node -- ${process.argv[1]} [usage]`
        : "give the container's command as the text of a sh -c, or in a plan [usage]"),
  );
  process.exit(125);
}

/**
 * The flag among our arguments that Node.js took for its own: what its file sets is in force here by now, and where the file
 * is a pipe nothing is left in it for us. Node.js does not say that it looked: only the command line of this process tells.
 */
function takenByNode() {
  const args = process.argv.slice(2);
  const configuration = args.find((arg) => /^--experimental-(default-)?config-file(=|$)/.test(arg));
  if (configuration !== undefined) return configuration.replace(/=.*/s, "");
  const end = args.indexOf("--");
  const file = args.slice(0, end < 0 ? args.length : end).find((arg) => /^--env-file(-if-exists)?(=|$)/.test(arg));
  if (file === undefined) return undefined;
  let started;
  try {
    started = readFileSync("/proc/self/cmdline", "utf8").split("\0").slice(0, -1);
  } catch {
    return undefined; // Not Linux.
  }
  const beforeEntry = started.slice(0, started.length - (args.length + 1));
  return beforeEntry.includes("--") ? undefined : file.replace(/=.*/s, "");
}

// In the user's own folder: what is loaded from a cache that others can write to is code of theirs.
enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "claimcheck"));
if (fromSources) import(sources);
else require("./main.cjs");
