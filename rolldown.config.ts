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
  async writeBundle({ dir }) {
    for (const [source, name] of Object.entries(beside)) await copyFile(source, `${dir}/${name}`);
  },
};

export default defineConfig({
  input: { main: "bin/main.ts", scrubber: "executor/scrub/scrubber.ts" },
  platform: "node",
  transform: { target: "node20.19" },
  output: { dir: "dist", cleanDir: true, minify: true, chunkFileNames: "[name].js", legalComments: "inline" },
  plugins: [copyBeside],
});
