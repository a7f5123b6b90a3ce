/** Builds what is published: JavaScript with its libraries inside, because start-up is most of what a run costs. */
import { readdirSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { basename } from "node:path";
import { defineConfig, type Plugin } from "rolldown";

/** Files that are found beside the code that uses them, and go out as they are. */
const programs = "executor/supervisor";
const beside = [
  "bin/claimcheck.cjs",
  "openapi.yaml",
  ...readdirSync(programs).flatMap((name) => (name.endsWith(".pl") ? [`${programs}/${name}`] : [])),
];

const copyBeside: Plugin = {
  name: "copy-beside",
  async writeBundle() {
    for (const source of beside) await copyFile(source, `dist/${basename(source)}`);
  },
};

const heavy = "vault-libraries";

/** What few runs need is kept out of the file that all of them load. */
const keepApart: Plugin = {
  name: "keep-apart",
  resolveId: (source) =>
    source.endsWith(`/${heavy}.ts`) ? { id: `./${heavy}.js`, external: true } : undefined,
};

/** What a run with an embedded broker loads, with all that these import: one file, because each costs a millisecond. */
const localRun =
  /\/bin\/(main|commands\/(program|run)|run\/(head-start|run)|serve-broker\/(local-broker|providers)|connect\/light-fetch|host\/key-files)\.ts$|\/executor\/broker-client\/(identity|client)\.ts$/;

// The command is CommonJS, which starts sooner than the same code as ECMAScript modules, and what is imported
// dynamically is in files of its own: a run does not load what only a central broker needs.
export default defineConfig([
  {
    input: "bin/main.ts",
    platform: "node",
    // What a run loads is one file, whatever else imports a part of it when it needs that.
    checks: { ineffectiveDynamicImport: false },
    transform: { target: "node22.18" },
    output: {
      dir: "dist",
      entryFileNames: "[name].cjs",
      chunkFileNames: "[name].cjs",
      format: "cjs",
      minify: true,
      codeSplitting: { groups: [{ name: "run", test: localRun }] },
    },
    plugins: [copyBeside, keepApart],
  },
  {
    input: `broker/providers/${heavy}.ts`,
    platform: "node",
    transform: { target: "node22.18" },
    // As a module: from a CommonJS file, Node.js would find no names in it.
    output: { file: `dist/${heavy}.js`, minify: true },
  },
  {
    // A thread has a file of its own. The SDK reads its WebAssembly beside itself, so it stays where npm puts it.
    input: "broker/providers/op-worker.ts",
    platform: "node",
    external: "@1password/sdk",
    transform: { target: "node22.18" },
    output: { file: "dist/op-worker.js", minify: true },
  },
  {
    input: "bin/serve-broker/policy-worker.ts",
    platform: "node",
    transform: { target: "node22.18" },
    output: { file: "dist/policy-worker.js", minify: true },
  },
  {
    input: "sdk/typescript/claimcheck.ts",
    platform: "node",
    transform: { target: "node22.18" },
    output: { file: "dist/sdk.js", minify: true },
  },
  {
    input: "executor/scrub/scrubber.ts",
    platform: "neutral",
    transform: { target: "node22.18" },
    output: { file: "dist/scrubber.js", minify: true },
  },
]);
