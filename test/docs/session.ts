/** One shell that runs a page from its top to its end, in a folder of its own, as a reader would. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { freePort } from "../parts/free-port.ts";
import { startBao } from "../parts/openbao.ts";
import { entry, image } from "../support/command.ts";
import { type Block, type Page, project } from "./page.ts";

const mark = "--- next ---";

/** What a page calls the image, its broker and its Vault, and what these are here. */
async function places(folder: string, text: string): Promise<[onPage: string, here: string][]> {
  const vault = text.includes("127.0.0.1:8200") ? await startBao() : undefined;
  if (vault) onTestFinished(vault.close);
  return [
    ["alpine:latest", image],
    ["7878", `${await freePort()}`],
    ["7979", `${await freePort()}`],
    ["/run/claimcheck", `${folder}/run`],
    ...(vault
      ? ([
          ["http://127.0.0.1:8200", vault.address],
          ["dev-root-token", vault.token],
        ] as [string, string][])
      : []),
  ];
}

/** @returns what each command printed, in the words of the page. */
export async function runPage({ blocks, text }: Page): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-docs-"));
  install(folder);
  const names = await places(folder, text);
  const toHere = (text: string) => names.reduce((now, [page, here]) => now.replaceAll(page, here), text);
  const toPage = (text: string) => names.reduce((now, [page, here]) => now.replaceAll(here, page), text);
  const script = [...blocks.map((block) => toHere(scriptOf(block))), endScript].join("\n");
  const shell = spawn("sh", ["-s"], {
    env: {
      PATH: `${folder}/bin:${process.env.PATH}:${join(project, ".tools/openbao/bin")}`,
      HOME: process.env.HOME,
      XDG_STATE_HOME: join(folder, "state"),
      CLAIMCHECK_CACHE_DIR: join(folder, "cache"),
    },
    cwd: join(folder, "work"),
    stdio: ["pipe", "pipe", "inherit"],
    detached: true,
  });
  onTestFinished(() => {
    endGroup(shell.pid as number);
    rmSync(folder, { recursive: true, force: true });
  });
  let output = "";
  shell.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  shell.stdin.end(`${script}\n`);
  await once(shell, "close");
  const [, ...printed] = toPage(output).split(`${mark}\n`);
  return printed;
}

function scriptOf(block: Block): string {
  if (block.kind === "file") return fileScript(block.name, block.text);
  if (block.kind === "unrun") return "";
  const { command } = block;
  const last = command.replaceAll("echo $?", "echo $last");
  if (command.endsWith("&")) return `echo '${mark}'\n${backgroundScript(command.slice(0, -1).trim())}`;
  // A group, and not a subshell: variables and the working folder stay.
  return `echo '${mark}'\n{ ${last}\n} 2>&1 </dev/null; last=$?`;
}

const fileScript = (name: string, text: string) =>
  `mkdir -p "$(dirname '${name}')"; cat >'${name}' <<'END OF FILE'\n${text}END OF FILE`;

const greetings = [
  "claimcheck: serving",
  "claimcheck: executor at",
  "a broker for trying out",
  "Serving HTTP",
];

/** A service says that it serves; a reader sees it before typing on. */
const backgroundScript = (command: string) =>
  `: >.said; { ${command}; } >.said 2>&1 &
until grep -q ${greetings.map((said) => `-e '${said}'`).join(" ")} .said; do
  kill -0 $! 2>/dev/null || { cat .said; break; }
done`;

/** What a page started ends with it; a second signal ends a broker that still drains. */
const endScript = "jobs -p >.jobs; for signal in 1 2; do kill $(cat .jobs); done 2>/dev/null; wait";

function endGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

/** The command on the path, the package for programs, and a checkout beside. */
function install(folder: string): void {
  symlinkSync(project, join(folder, "claimcheck"));
  for (const name of ["bin", "work", "run", "work/node_modules/claimcheck"])
    mkdirSync(join(folder, name), { recursive: true });
  const command = join(folder, "bin", "claimcheck");
  writeFileSync(command, `#!/bin/sh\nexec "${process.execPath}" -- "${entry}" "$@"\n`);
  chmodSync(command, 0o755);
  const published = join(folder, "work", "node_modules", "claimcheck");
  const doors = { ".": "./door.js", "./scrubber": "./scrubber.js" };
  writeFileSync(join(published, "package.json"), JSON.stringify({ type: "module", exports: doors }));
  for (const [door, source] of [
    ["door.js", "sdk/typescript/claimcheck.ts"],
    ["scrubber.js", "executor/scrub/scrubber.ts"],
  ] as const)
    writeFileSync(join(published, door), `export * from "${join(project, source)}";\n`);
}
