#!/usr/bin/env node
// The entry is JavaScript that every Node.js can read, so that one that is too old is told in a sentence.
import { existsSync } from "node:fs";
import module from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const sources = new URL("./main.ts", import.meta.url);
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
module.enableCompileCache?.(join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "claimcheck"));
await import(fromSources ? fileURLToPath(sources) : "./main.cjs");
