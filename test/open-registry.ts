/** An OCI registry for a test: Debian's docker-registry, on a port of its own on loopback, in a temporary folder. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { freePort } from "./free-port.ts";

export async function startRegistry() {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-registry-"));
  const port = await freePort();
  const file = join(folder, "config.yml");
  writeFileSync(
    file,
    `version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: ${folder}/data } }
http: { addr: "127.0.0.1:${port}" }
`,
  );
  const server = spawn("docker-registry", ["serve", file], { stdio: ["ignore", "ignore", "pipe"] });
  let failure: Error | undefined;
  server.on("error", () => {
    failure = new Error("docker-registry is missing: install Debian's package of that name");
  });
  const stop = async () => {
    if (server.exitCode !== null || server.signalCode !== null || failure) return;
    server.kill("SIGKILL");
    await once(server, "close");
  };
  onTestFinished(async () => {
    await stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const url = `http://127.0.0.1:${port}/v2/`;
  const answers = () =>
    fetch(url)
      .then(({ ok }) => ok)
      .catch(() => false);
  while (!(await answers())) {
    if (failure) throw failure;
    if (server.exitCode !== null) throw new Error("docker-registry ended");
  }
  return { host: `127.0.0.1:${port}`, url, data: join(folder, "data"), stop };
}

/** @returns the environment in which images may be pushed there: loopback has no TLS. */
export function withoutTls(host: string): Record<string, string> {
  const file = join(mkdtempSync(join(tmpdir(), "claimcheck-registry-")), "registries.conf");
  writeFileSync(file, `[[registry]]\nlocation = "${host}"\ninsecure = true\n`);
  return { CONTAINERS_REGISTRIES_CONF: file };
}
