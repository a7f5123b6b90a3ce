/** What README.md shows in a terminal is what the terminal shows. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { entry, image } from "../support/command.ts";
import { startDevBroker } from "../support/dev-broker.ts";

const project = fileURLToPath(new URL("../..", import.meta.url));
const readme = readFileSync(join(project, "README.md"), "utf8");
const folder = mkdtempSync(join(tmpdir(), "claimcheck-readme-"));

/** Commands and what they print, block by block; one shell runs them all, as a reader would. */
const transcript = [...readme.matchAll(/^```console\n(.*?)^```/gms)]
  .flatMap(([, block]) => (block as string).split(/^\$ /m).slice(1))
  .map((part) => {
    const [command = "", ...printed] = part.split("\n");
    return { command, printed: printed.join("\n") };
  });

/** Files that it shows: what stands in them is what the commands find. */
for (const [, name, content] of readme.matchAll(/^```\w+ (\S+)\n(.*?)^```/gms)) {
  writeFileSync(join(folder, name as string), (content as string).replaceAll("alpine:latest", image));
}

/** The package, for the programs that it shows. */
const published = join(folder, "node_modules", "claimcheck");
mkdirSync(published, { recursive: true });
writeFileSync(join(published, "package.json"), '{ "type": "module", "exports": "./door.js" }');
writeFileSync(
  join(published, "door.js"),
  `export * from "${join(project, "sdk/typescript/claimcheck.ts")}";\n`,
);

test("every transcript is true", { timeout: 300_000 }, async () => {
  // What "Try a broker of its own" starts first, on a port of its own.
  const { env } = await startDevBroker({ API_TOKEN: "guessme" });
  const exported = Object.entries(env).map(([name, value]) => `export ${name}=${value}\n`);
  writeFileSync(join(folder, "broker.env"), exported.join(""));
  mkdirSync(join(folder, "bin"));
  writeFileSync(
    join(folder, "bin", "claimcheck"),
    `#!/bin/sh\nexec "${process.execPath}" -- "${entry}" "$@"\n`,
  );
  chmodSync(join(folder, "bin", "claimcheck"), 0o755);
  const mark = "--- next ---";
  const script = transcript.map(({ command }) => `echo '${mark}'; ${restore(command)}\nlast=$?`).join("\n");
  const { stdout } = spawnSync("sh", [], {
    input: script.replaceAll("echo $?", "echo $last").replaceAll("alpine:latest", image).concat("\n"),
    env: {
      PATH: `${folder}/bin:${process.env.PATH}`,
      HOME: process.env.HOME,
      XDG_STATE_HOME: join(folder, "state"),
      CLAIMCHECK_CACHE_DIR: join(folder, "cache"),
    },
    cwd: folder,
    stdio: ["pipe", "pipe", "inherit"],
    encoding: "utf8",
  });
  const printed = stdout.split(`${mark}\n`).slice(1);
  expect(transcript.map(({ command }, index) => ({ command, printed: printed[index] }))).toEqual(transcript);
});

/** What a terminal shows is standard output and standard error alike. */
const restore = (command: string) => (command.startsWith("export ") ? command : `{ ${command}; } 2>&1`);

test("every file it names is there, and every npm script", () => {
  const files = [...readme.matchAll(/`((?:test|bench)\/[^`]+)`|\]\(([^)#:]+)\)/g)].map(
    ([, code, link]) => code ?? link,
  );
  expect(files.length).toBeGreaterThan(5);
  for (const file of files)
    expect({ [file as string]: existsSync(join(project, file as string)) }).toEqual({
      [file as string]: true,
    });
  const { scripts } = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));
  for (const [, script] of readme.matchAll(/npm run (\w+)/g))
    expect(scripts).toHaveProperty(script as string);
});
