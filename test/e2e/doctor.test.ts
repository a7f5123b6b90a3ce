/** claimcheck doctor: a host in order is all "ok"; what is missing is one line with what to do, and stops no other check. */
import { once } from "node:events";
import { readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { claimcheck } from "../support/command.ts";
import { startHost } from "../support/executor.ts";
import { makeFolder } from "../support/served.ts";

const failing = (stdout: string) => stdout.split("\n").filter((line) => line.startsWith("FAIL"));

test("an executor's host in order, with its broker, token and socket", async () => {
  const host = await startHost();
  const { code, stdout, stderr } = await claimcheck(["doctor", "--config", host.config]);
  expect({ code, stderr, failing: failing(stdout) }).toEqual({ code: 0, stderr: "", failing: [] });
  expect(stdout.split("\n").map((line) => line.slice(6, 17).trim())).toEqual([
    ...[
      "system",
      "runtime",
      "perl",
      "buildah",
      "tar",
      "prlimit",
      "unshare",
      "nft",
      "ip",
      "seccomp",
      "cgroups",
    ],
    ...["namespaces", "images", "state", "executor", "broker", "readiness", "clock", "pins", "token", ""],
  ]);
  expect(stdout).toMatch(
    /^ok {4}token {7}ci:executor-1 of acme, executor; rules that allow it something: 1 /m,
  );

  const renamed = readFileSync(host.config, "utf8").replace("ci:executor-1", "executor-1");
  writeFileSync(join(host.folder, "renamed.yaml"), renamed, { mode: 0o600 });
  const other = await claimcheck(["doctor", "--config", join(host.folder, "renamed.yaml")]);
  expect(failing(other.stdout)).toEqual([
    "FAIL  token       ci:executor-1 of acme, executor: broker.principal in the configuration is executor-1",
  ]);

  host.executor.child.kill("SIGTERM");
  await host.executor.finished;
  writeFileSync(join(host.folder, "executor-token"), "no token");
  host.broker.child.kill("SIGTERM");
  await host.broker.finished;
  const later = await claimcheck(["doctor", "--config", host.config]);
  expect(later.code).toBe(1);
  expect(failing(later.stdout).map((line) => line.slice(6, 17).trim())).toEqual([
    ...["executor", "broker", "readiness", "clock", "pins", "token"],
  ]);
  expect(later.stdout).toMatch(
    /^FAIL {2}broker .* (cannot be reached \(\w+\)|answers with HTTP status 5\d\d)$/m,
  );
  expect(later.stdout).toContain("start the executor (systemctl start claimcheck-executor)");
});

test("a user's connection: other keys than the pinned ones, and a token that the broker does not know", async () => {
  const { url, keys, sign } = await startHost();
  const ask = (env: Record<string, string>, ...args: string[]) =>
    claimcheck(["doctor", "--broker", url, ...args], { env });
  const good = await ask({ CLAIMCHECK_BROKER_KEYS: keys, CLAIMCHECK_TOKEN: await sign("job-1") });
  expect({ code: good.code, failing: failing(good.stdout) }).toEqual({ code: 0, failing: [] });

  const bad = await ask({ CLAIMCHECK_BROKER_KEYS: "A".repeat(43), CLAIMCHECK_TOKEN: "secret-token" });
  expect(bad.code).toBe(1);
  expect(bad.stdout).toMatch(/^FAIL {2}pins .*\n {18}set CLAIMCHECK_BROKER_KEYS/m);
  expect(bad.stdout).toMatch(/^FAIL {2}token .*\n {18}bring a token/m);
  expect(bad.stdout + bad.stderr).not.toContain("secret-token");

  const none = await ask({}, "--format", "json");
  expect(JSON.parse(none.stdout)).toContainEqual({
    name: "pins",
    ok: false,
    says: "no key of the broker is pinned",
    remedy: "set CLAIMCHECK_BROKER_KEYS to what `claimcheck broker keys` prints there",
  });
});

test("a program that is not installed, and one that does not start", async () => {
  const folder = makeFolder({ buildah: "not a program" });
  for (const bin of ["/usr/sbin", "/usr/bin"]) {
    for (const name of readdirSync(bin)) {
      try {
        if (!["nft", "buildah"].includes(name)) symlinkSync(join(bin, name), join(folder, name));
      } catch {
        // The other folder has it too.
      }
    }
  }
  const { code, stdout } = await claimcheck(["doctor"], { env: { PATH: folder } });
  expect(code).toBe(1);
  expect(stdout).toMatch(
    /^FAIL {2}nft +nft was not found\n {18}install it \(Debian: apt install nftables\)/m,
  );
  expect(stdout).toMatch(/^FAIL {2}buildah +buildah did not start \(EACCES\)$/m);
  expect(failing(stdout).map((line) => line.slice(6, 17).trim())).toEqual(["buildah", "nft", "images"]);
});

test("a clock that is minutes apart from the broker's", async () => {
  const server = createServer((_, response) => {
    response.setHeader("date", new Date(Date.now() - 300_000).toUTCString());
    response.end(JSON.stringify({ status: "ready", complaints: [] }));
  });
  onTestFinished(() => void server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { stdout } = await claimcheck(["doctor", "--broker", url]);
  expect(stdout).toMatch(
    /^FAIL {2}clock +(299|300|301) seconds apart from the broker's\n {18}let both hosts keep time/m,
  );
});
