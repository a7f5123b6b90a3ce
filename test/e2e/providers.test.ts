/** All five schemes in one command: against a real OpenBao, and the stand-in for 1Password. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type OnePassword, startOnePassword } from "../parts/onepassword.ts";
import { type Bao, type FaultProxy, startBao, startProxy } from "../parts/openbao.ts";
import { claimcheck, image, printed, start } from "../support/command.ts";

const folder = mkdtempSync(join(tmpdir(), "claimcheck-providers-"));
const file = join(folder, "token");
const command = "printf 'from-cmd'";

let bao: Bao;
let vault: FaultProxy;
let onePassword: OnePassword;
let mount: string;

beforeAll(async () => {
  [bao, onePassword] = await Promise.all([
    startBao(),
    startOnePassword({
      Infra: {
        Database: [
          { label: "username", value: "from-op-user" },
          { label: "password", value: "from-op-password" },
        ],
        Deploy: [{ label: "password", value: "from-op-deploy" }],
      },
    }),
  ]);
  vault = await startProxy(bao.address);
  mount = await bao.mount("run", 2);
  await bao.call("POST", `${mount}/data/app`, {
    data: { user: "from-vault-user", password: "from-vault-password" },
  });
  await bao.call("POST", `${mount}/data/db`, { data: { password: "from-vault-db" } });
  writeFileSync(file, "from-file");
});

afterAll(async () => {
  rmSync(folder, { recursive: true });
  await Promise.all([vault.close(), onePassword.close()]);
  await bao.close();
});

beforeEach(() => {
  vault.takeLog();
  onePassword.takeLog();
});

/** Secrets of every scheme, several of a manager, and what they come to. */
const wanted = (): Record<string, [uri: string, value: string]> => ({
  A: ["env://API_TOKEN", "from-env"],
  B: [`file://${file}`, "from-file"],
  C: [`cmd://${command}`, "from-cmd"],
  D: ["op://infra/database/username", "from-op-user"],
  E: ["op://infra/database/password", "from-op-password"],
  F: ["op://infra/deploy/password", "from-op-deploy"],
  G: [`vault://${mount}/app#user`, "from-vault-user"],
  H: [`vault://${mount}/app.password`, "from-vault-password"],
  I: [`vault://${mount}/db#password`, "from-vault-db"],
});

const credentials = () => ({
  API_TOKEN: "from-env",
  VAULT_ADDR: vault.address,
  VAULT_TOKEN: bao.token,
  OP_SERVICE_ACCOUNT_TOKEN: onePassword.token(),
  CLAIMCHECK_OP_SIGN_IN_ORIGINS: onePassword.origin,
});

/** Compares all values inside the container, because outside they are masked. */
function run(env: Record<string, string>) {
  const variables = Object.entries(wanted()).flatMap(([name, [uri]]) => ["--secret-env", `${name}=${uri}`]);
  const all = Object.keys(wanted()).map((name) => `$${name}`);
  const script = `[ "${all.join(",")}" = "$1" ] && echo same; echo "$A $E $H"`;
  const values = Object.values(wanted()).map(([, value]) => value);
  return claimcheck(["run", ...variables, image, "--", "sh", "-c", script, "sh", values.join(",")], { env });
}

/** What a request for all of them costs upstream: one read for each path, one batch for all items. */
function expectBatches(): void {
  expect(vault.takeLog().sort()).toEqual(
    [
      `GET /v1/sys/internal/ui/mounts/${mount}/app`,
      `GET /v1/${mount}/data/app`,
      `GET /v1/${mount}/data/db`,
    ].sort(),
  );
  expect(onePassword.takeLog()).toEqual([
    "POST /api/v3/auth/start",
    "POST /api/v2/auth",
    "POST /api/v2/auth/confirm-key",
    "POST /api/v2/auth/complete",
    "GET /api/v1/vaults",
    "GET /api/v2/account/keysets",
    "GET /api/v1/vault/:id/items/overviews",
    "POST /api/v3/vault/:id/items/batch",
  ]);
}

const masked = { code: 0, stdout: "same\n*** *** ***\n", stderr: "" };

test("the embedded broker resolves every scheme in one command, each manager asked once", async () => {
  expect(await run(credentials())).toEqual(masked);
  expectBatches();
});

test("a broker over HTTP does, in one request for all handles and one for all values", async () => {
  const allowed = ["--env", "API_TOKEN", "--file-root", folder, "--command", command];
  const broker = start(["broker", "--dev", "--listen", "127.0.0.1:7979", ...allowed], { env: credentials() });
  await printed(broker, "CLAIMCHECK_TOKEN=");
  const env = Object.fromEntries(
    [...broker.output.stdout.matchAll(/^export (\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]),
  );
  expect(await run(env as Record<string, string>)).toEqual(masked);
  expectBatches();
  const requests = [...broker.output.stderr.matchAll(/"method":"(\w+)","route":"([^"]+)"/g)];
  expect(requests.map(([, method, path]) => `${method} ${path}`).sort()).toEqual([
    "GET /.well-known/jwks.json",
    "POST /v1/handles",
    "POST /v1/redemptions",
  ]);
  expect(broker.output.stderr).not.toMatch(/from-/);
  broker.child.kill("SIGTERM");
  expect((await broker.finished).code).toBe(0);
});

test("a broker over HTTP gives nothing of its host that was not listed", async () => {
  const broker = start(["broker", "--dev", "--listen", "127.0.0.1:7979"], { env: credentials() });
  await printed(broker, "CLAIMCHECK_TOKEN=");
  const env = Object.fromEntries(
    [...broker.output.stdout.matchAll(/^export (\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]),
  );
  for (const uri of ["env://API_TOKEN", `file://${file}`, `cmd://${command}`]) {
    const refused = await claimcheck(["run", "--secret-env", `A=${uri}`, image, "true"], {
      env: env as Record<string, string>,
    });
    expect(refused).toMatchObject({ code: 125, stdout: "" });
  }
  broker.child.kill("SIGTERM");
  expect((await broker.finished).code).toBe(0);
});

test("a manager that fails fails the run, and says which and why", async () => {
  const { code, stderr } = await run({ ...credentials(), VAULT_TOKEN: "s.wrong" });
  expect(code).toBe(125);
  expect(stderr).toContain("the Vault token is invalid or has expired");
  expect(stderr).not.toMatch(/from-|s\.wrong/);
});
