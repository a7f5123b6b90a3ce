/** An OCI registry for a test: Debian's docker-registry, on a port of its own on loopback, in a temporary folder. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { freePort } from "./free-port.ts";

/**
 * @param login a line of an htpasswd file, of the only one who is served; everybody is without it.
 * @returns what ends with the test.
 */
export async function startRegistry(login?: string) {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-registry-"));
  const host = `127.0.0.1:${await freePort()}`;
  const logins = join(folder, "htpasswd");
  if (login !== undefined) writeFileSync(logins, `${login}\n`);
  const data = join(folder, "data");
  const file = join(folder, "config.yml");
  const config = {
    version: 0.1,
    log: { level: "error", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: data } },
    http: { addr: host },
    ...(login !== undefined && { auth: { htpasswd: { realm: "test", path: logins } } }),
  };
  writeFileSync(file, JSON.stringify(config));
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
  const url = `http://${host}/v2/`;
  const answers = () =>
    fetch(url)
      .then(({ status }) => status === (login === undefined ? 200 : 401))
      .catch(() => false);
  while (!(await answers())) {
    if (failure) throw failure;
    if (server.exitCode !== null) throw new Error("docker-registry ended");
  }
  return { host, url, data, stop };
}

/** @returns the environment in which images may be had from there and pushed there: loopback has no TLS. */
export function withoutTls(...hosts: string[]) {
  const file = join(mkdtempSync(join(tmpdir(), "claimcheck-registry-")), "registries.conf");
  writeFileSync(file, hosts.map((host) => `[[registry]]\nlocation = "${host}"\ninsecure = true\n`).join(""));
  return { CONTAINERS_REGISTRIES_CONF: file };
}
