/** Private images: the password of a registry is a secret like any other, and lies nowhere while it is used. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { filesContaining, mounts, processesContaining, remains, until } from "../parts/host.ts";
import { startPrivateRegistry, user } from "../parts/private-registry.ts";
import { claimcheck, start } from "../support/command.ts";

const folder = "/var/lib/claimcheck/registries";

afterEach(() => {
  expect(remains()).toEqual([]);
});

/** A registry and the password that it wants, which nothing else on this host contains. */
async function privateRegistry() {
  const password = `claimcheck-${randomBytes(16).toString("hex")}`;
  const registry = await startPrivateRegistry(password);
  const login = `${registry.address}=${user},env://REGISTRY_PASSWORD`;
  const forms = [password, Buffer.from(`${user}:${password}`).toString("base64")];
  return { ...registry, login, password, forms, env: { ...registry.env, REGISTRY_PASSWORD: password } };
}

const command = ["--", "sh", "-c", "echo ran"];

test("an image is pulled with a password from a secret, and only then is that redeemed", async () => {
  const { image, login, env, forget } = await privateRegistry();
  const audit = join(mkdtempSync(join(tmpdir(), "claimcheck-registry-")), "audit.jsonl");
  const args = ["run", "--audit", audit, "--registry-auth", login, image, ...command];
  const released = () => readFileSync(audit, "utf8").match(/"action":"redeem"/g)?.length ?? 0;

  expect(await claimcheck(args, { env })).toMatchObject({ code: 0, stdout: "ran\n" });
  const first = released();
  expect(first).toBeGreaterThan(0);
  // It is there now.
  expect(await claimcheck(args, { env })).toMatchObject({ code: 0, stdout: "ran\n" });
  expect(released()).toBe(first);
  forget();
});

test("while it is pulled the password is in no file and on no command line, and after kill -9 nowhere", async () => {
  const { image, login, env, hold, asked, release, password, forms } = await privateRegistry();
  hold();
  const running = start(["run", "--registry-auth", login, image, ...command], { env });
  await asked();

  const pulling = processesContaining("cmdline", "buildah\u0000pull")[0] as number;
  expect(await filesContaining(forms)).toEqual([]);
  expect(mounts()).toEqual([]);
  expect(processesContaining("cmdline", password)).toEqual([]);
  // In nobody's environment but the command's own, which the user gave it.
  expect(processesContaining("environ", password)).toEqual([running.child.pid]);
  // The search finds it where it is.
  const own = `/proc/${pulling}/root${folder}`;
  expect(await filesContaining(forms, [own])).toEqual([`${own}/auth.json`]);

  running.child.kill("SIGKILL");
  await running.finished;
  await until(() => processesContaining("cmdline", "buildah\u0000pull").length === 0);
  expect(await filesContaining(forms)).toEqual([]);
  release();
});

test("a plan has its log-ins too", async () => {
  const { address, image, env, forget } = await privateRegistry();
  const plan = join(mkdtempSync(join(tmpdir(), "claimcheck-registry-")), "plan.json");
  const registryAuth = [{ address, user, password: "env://REGISTRY_PASSWORD" }];
  // Printed by a step, it is masked as the step's own secrets are.
  const steps = [{ args: ["sh", "-c", "echo $P"], env: { P: env.REGISTRY_PASSWORD } }];
  writeFileSync(plan, JSON.stringify({ version: 1, image, registryAuth, steps }));
  expect(await claimcheck(["run", "--plan", plan], { env })).toMatchObject({ code: 0, stdout: "***\n" });
  forget();
});

test.each([
  ["a wrong password", { REGISTRY_PASSWORD: "hunter2-hunter2" }, []],
  ["another user's", {}, ["nobody"]],
])("%s is a failure that shows no password", async (_, more, [other]) => {
  const { image, login, env, password } = await privateRegistry();
  const auth = other ? login.replace(`=${user},`, `=${other},`) : login;
  const args = ["run", "--registry-auth", auth, image, ...command];
  const { code, stdout, stderr } = await claimcheck(args, { env: { ...env, ...more } });
  expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
  expect(stderr).toMatch(
    /^claimcheck: pulling .*\nclaimcheck: The image is not available: .*\[image_unavailable\]\n$/,
  );
  expect(stderr).toMatch(/unauthorized|authentication required/);
  for (const word of [password, "hunter2"]) expect(stderr).not.toContain(word);
});

test.each([
  ["registry.example", "usage"],
  ["registry.example=hunter2", "usage"],
  ["https://registry.example=robot,env://A", "invalid_plan"],
  ["registry.example=,env://A", "invalid_plan"],
  ["registry.example=robot:hunter2,env://A", "invalid_plan"],
  ["registry.example=robot,hunter2", "invalid_uri"],
])("--registry-auth %s is refused", async (login, code) => {
  const finished = await claimcheck(["run", "--registry-auth", login, "localhost/none", ...command]);
  expect(finished).toMatchObject({ code: 125, stdout: "" });
  expect(finished.stderr).toMatch(new RegExp(`^claimcheck: .*\\[${code}\\]\\n$`));
  expect(finished.stderr).not.toContain("hunter2");
});
