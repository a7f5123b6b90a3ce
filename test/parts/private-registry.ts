/**
 * A private registry for a test: one that asks for a password, with one image in it. Whoever pulls that speaks to a
 * proxy, which can be told to keep what it is asked for until the test has looked around.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { until } from "./host.ts";
import { startRegistry, withoutTls } from "./oci-registry.ts";

export const user = "robot";

/** It ends with the test. */
export async function startPrivateRegistry(password: string) {
  const salt = randomBytes(11).toString("hex");
  const crypt = ["-e", "chomp(my $password = <STDIN>); print crypt($password, $ARGV[0])", `$2y$05$${salt}`];
  const hash = execFileSync("perl", crypt, { input: password });
  const { host } = await startRegistry(`${user}:${hash}`);

  let held: Promise<void> | undefined;
  let release = () => {};
  let asked = false;
  const proxy = createServer(async (incoming, outgoing) => {
    if (incoming.url?.includes("/blobs/")) {
      asked = true;
      await held;
    }
    const { method, url: path, headers } = incoming;
    request(`http://${host}`, { method, path, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(outgoing);
    })
      .on("error", () => outgoing.destroy())
      .end();
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const address = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;

  const env = withoutTls(host, address);
  const buildah = (...args: string[]) =>
    execFileSync("buildah", args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] })
      .toString()
      .trim();

  const folder = mkdtempSync(join(tmpdir(), "claimcheck-registry-"));
  onTestFinished(() => {
    proxy.close();
    proxy.closeAllConnections();
    rmSync(folder, { recursive: true, force: true });
  });

  // An image that this host has not seen yet, and does not have any more when it is in the registry.
  const files = join(folder, "files");
  mkdirSync(join(files, "bin"), { recursive: true });
  execFileSync("cp", [execFileSync("which", ["busybox"]).toString().trim(), join(files, "bin", "sh")]);
  writeFileSync(join(files, "unique"), randomBytes(16));
  const auth = Buffer.from(`${user}:${password}`).toString("base64");
  writeFileSync(join(folder, "auth.json"), JSON.stringify({ auths: { [host]: { auth } } }));
  const container = buildah("from", "scratch");
  buildah("copy", container, files, "/");
  const id = buildah("commit", "--quiet", "--rm", container);
  buildah("push", "--quiet", "--authfile", join(folder, "auth.json"), id, `docker://${host}/team/app`);
  buildah("rmi", id);
  execFileSync("rm", [join(folder, "auth.json")]);

  return {
    address,
    image: `${address}/team/app`,
    env,

    /** From now on who asks for a layer waits. */
    hold(): void {
      asked = false;
      held = new Promise((resolve) => {
        release = resolve;
      });
    },
    asked: () => until(() => asked),
    release: () => release(),

    /** What runs leave of the image in this host's storage, on purpose. */
    forget(): void {
      for (const container of buildah(
        "ps",
        "--all",
        "--quiet",
        "--filter",
        `ancestor=${address}/team/app`,
      ).split("\n"))
        if (container) buildah("rm", container);
      buildah("rmi", "--force", `${address}/team/app`);
    },
  };
}
