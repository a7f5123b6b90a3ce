/**
 * What a whole `claimcheck run`, as published, costs beside what other commands cost for the same image and
 * the same program. One round starts each of them once, so that whatever else the machine does meets them all.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Bundle, bareBundle, image } from "./bundle.ts";
import { median, table } from "./report.ts";

const rounds = 25;
const program = ["sh", "-c", "echo this is the secret: $MY_SECRET"];
const env = { ...process.env, API_TOKEN: "guessme", MY_SECRET: "guessme" };

export interface Contender {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

export async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-bench-"));
  const bare = bareBundle(program, ["MY_SECRET=guessme"]);
  const docker = await startDocker(folder);
  try {
    const contenders = [claimcheck(), bareRunc(bare), ...podman(), ...docker.contenders, bareNode()];
    for (const contender of contenders) time(contender);
    const times = new Map(contenders.map(({ name }) => [name, [] as number[]]));
    for (let round = 0; round < rounds; round++) {
      for (const contender of contenders) times.get(contender.name)?.push(time(contender));
    }
    const medians = new Map([...times].map(([name, all]) => [name, median(all)]));
    const reference = medians.get("podman run") ?? (medians.get("claimcheck run") as number);
    table(
      `A cold command, medians of ${rounds} interleaved rounds`,
      ["", "ms", medians.has("podman run") ? "beside podman run" : "beside claimcheck run"],
      [...medians].map(([name, each]) => [name, each.toFixed(0), `${(each / reference).toFixed(2)} ×`]),
    );
  } finally {
    await docker.stop();
    bare.remove();
    rmSync(folder, { recursive: true });
  }
}

/** @returns milliseconds. */
export function time({ name, command, args }: Contender): number {
  const start = performance.now();
  const { status, stderr } = spawnSync(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const elapsed = performance.now() - start;
  if (status !== 0) throw new Error(`${name} failed: ${stderr}`);
  return elapsed;
}

export function claimcheck(...flags: readonly string[]): Contender {
  const entry = fileURLToPath(new URL("../dist/claimcheck.cjs", import.meta.url));
  const args = [entry, "run", ...flags, "--secret-env", "MY_SECRET=env://API_TOKEN", image, "--", ...program];
  return { name: "claimcheck run", command: process.execPath, args };
}

function bareRunc({ folder }: Bundle): Contender {
  return { name: "runc run, bare", command: "runc", args: ["run", "--bundle", folder, "claimcheck-bench"] };
}

export function podman(): Contender[] {
  if (spawnSync("podman", ["--version"]).status !== 0) return [];
  const limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
  const args = [
    "--runtime",
    "runc",
    "run",
    "--rm",
    ...limits,
    "--network",
    "none",
    "-e",
    "MY_SECRET",
    image,
    ...program,
  ];
  return [{ name: "podman run", command: "podman", args }];
}

/** Docker's own daemon, started for this, since the system's may not be. */
async function startDocker(folder: string) {
  const nothing = { contenders: [] as Contender[], stop: async () => {} };
  if (!existsSync("/usr/sbin/dockerd") && !existsSync("/usr/bin/dockerd")) return nothing;
  const host = `unix://${folder}/docker.sock`;
  const daemon = spawn(
    "dockerd",
    [
      "--host",
      host,
      "--data-root",
      `${folder}/data`,
      "--exec-root",
      `${folder}/exec`,
      "--pidfile",
      `${folder}/pid`,
    ].concat(["--iptables=false", "--bridge=none"]),
    { stdio: "ignore" },
  );
  const stop = async () => {
    if (daemon.exitCode !== null) return;
    daemon.kill("SIGTERM");
    await once(daemon, "exit");
  };
  const isUp = () => spawnSync("docker", ["--host", host, "version"], { stdio: "ignore" }).status === 0;
  while (!isUp()) {
    if (daemon.exitCode !== null) return nothing;
  }
  const archive = join(folder, "image.tar");
  execFileSync("buildah", ["push", image, `docker-archive:${archive}:claimcheck-bench:latest`], {
    stdio: "ignore",
  });
  execFileSync("docker", ["--host", host, "load", "--input", archive], { stdio: "ignore" });
  const args = [
    "--host",
    host,
    "run",
    "--rm",
    "--network",
    "none",
    "-e",
    "MY_SECRET",
    "claimcheck-bench",
    ...program,
  ];
  return { contenders: [{ name: "docker run", command: "docker", args }], stop };
}

function bareNode(): Contender {
  return { name: "node, doing nothing", command: process.execPath, args: ["-e", "0"] };
}

if (import.meta.main) await run();
