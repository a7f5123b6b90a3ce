/** Builds what is published: JavaScript with its libraries inside, because start-up is most of what a run costs. */
import { copyFile } from "node:fs/promises";
import { defineConfig, type Plugin } from "rolldown";

/** Files that are found beside the code that uses them, and go out as they are. */
const beside = {
  "bin/claimcheck.js": "claimcheck.js",
  "executor/runtime/supervisor.pl": "supervisor.pl",
};

const copyBeside: Plugin = {
  name: "copy-beside",
  async writeBundle() {
    for (const [source, name] of Object.entries(beside)) await copyFile(source, `dist/${name}`);
  },
};

// The command is one CommonJS file, which starts sooner than the same code as ECMAScript modules. What is imported
// dynamically is still evaluated only then.
export default defineConfig([
  {
    input: "bin/main.ts",
    platform: "node",
    transform: { target: "node20.19" },
    output: { file: "dist/main.cjs", format: "cjs", codeSplitting: false, minify: true },
    plugins: [copyBeside],
  },
  {
    input: "executor/scrub/scrubber.ts",
    platform: "neutral",
    transform: { target: "node20.19" },
    output: { file: "dist/scrubber.js", minify: true },
  },
]);
