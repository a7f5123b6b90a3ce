/** What is wrong with node-vault as it is, and is mended by its transport: each check fails for the plain library. */
import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inspect, promisify } from "node:util";
import nodeVault from "node-vault";
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
  vi,
} from "vitest";
import { vaultServer } from "../../bin/serve-broker/vault-server.ts";
import { createVaultClient, type VaultClient } from "../../broker/providers/vault-client.ts";
import { createVaultSession } from "../../broker/providers/vault-session.ts";
import { answering, type FaultProxy, startProxy } from "../parts/openbao.ts";

let server: FaultProxy;
let elsewhere: FaultProxy;

beforeAll(async () => {
  // Nothing lies behind them: these servers only ever answer with faults.
  [server, elsewhere] = await Promise.all([
    startProxy("http://127.0.0.1:9"),
    startProxy("http://127.0.0.1:9"),
  ]);
  elsewhere.breakWith(answering(200, {}, {}));
});

afterAll(() => Promise.all([server.close(), elsewhere.close()]));

beforeEach(() => {
  server.requests.length = 0;
  server.breakWith(answering(200, {}, { data: {} }));
});

afterEach(() => vi.unstubAllEnvs());

const execute = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
const source = (name: string) => JSON.stringify(new URL(`broker/providers/${name}.ts`, `file://${root}`));

/** In seconds; more milliseconds than a timer takes. */
const year = 365 * 24 * 60 * 60;

/** The two libraries behind one interface. */
interface Candidate {
  connect(address: string): Promise<Pick<VaultClient, "read">>;
  /** Logs in with an AppRole. */
  logIn(address: string, mount: string): Promise<unknown>;
  /** Logs in with a pod's service account, at the mount that nobody named. */
  logInFromPod(address: string): Promise<unknown>;
  /** Logs in, and keeps the token alive. */
  keep(address: string): Promise<unknown>;
  /** A program that logs in with the secret id s.sesame, which gives the token of that name, and reads with it. */
  program(address: string): string;
}

const own: Candidate = {
  async connect(address) {
    const client = await createVaultClient({ address });
    onTestFinished(() => client.close());
    return client;
  },
  async logIn(address, mount) {
    const client = await createVaultClient({ address });
    const logIn = { method: "approle", mount, roleId: "r", secretId: "s" } as const;
    const session = createVaultSession(client, logIn, undefined);
    onTestFinished(() => session.close());
    return session.authorized(async () => {});
  },
  async logInFromPod(address) {
    const environment = { VAULT_ADDR: address, VAULT_KUBERNETES_ROLE: "r" };
    const server = vaultServer(environment, { read: async () => "jwt", tokenFile: "" });
    if ("missing" in server) throw new Error(server.missing);
    const session = createVaultSession(await createVaultClient(server), server.logIn, undefined);
    onTestFinished(() => session.close());
    return session.authorized(async () => {});
  },
  keep: (address) => own.logIn(address, "approle"),
  program: (address) => `
    import { createVaultClient } from ${source("vault-client")};
    import { createVaultSession } from ${source("vault-session")};
    const client = await createVaultClient({ address: "${address}" });
    const logIn = { method: "approle", mount: "approle", roleId: "r", secretId: "s.sesame" };
    const session = createVaultSession(client, logIn, undefined);
    const signal = AbortSignal.timeout(10_000);
    await session.authorized((token) => client.read("a", { token, signal }));
    session.close();
    await client.close();`,
};

const plain: Candidate = {
  async connect(address) {
    const vault = nodeVault({ endpoint: address, requestOptions: { headers: {} } });
    return {
      read(path, { token, signal }) {
        if (token !== undefined) vault.token = token;
        return vault.read(path, { signal } as object);
      },
    };
  },
  logIn: (address, mount) =>
    nodeVault({ endpoint: address }).approleLogin({ mount_point: mount, role_id: "r", secret_id: "s" }),
  logInFromPod: (address) => nodeVault({ endpoint: address }).kubernetesLogin({ role: "r", jwt: "jwt" }),
  async keep(address) {
    const vault = nodeVault({ endpoint: address });
    await vault.approleLogin({ role_id: "r", secret_id: "s" });
    onTestFinished(() => vault.stopTokenRenewal());
    return vault.startTokenRenewal({ ttl: year });
  },
  program: (address) => `
    import nodeVault from "node-vault";
    const vault = nodeVault({ endpoint: "${address}" });
    await vault.approleLogin({ role_id: "r", secret_id: "s.sesame" });
    await vault.read("a");`,
};

const call = (token?: string) => ({
  ...(token !== undefined && { token }),
  signal: new AbortController().signal,
});
const tokens = ({ requests }: FaultProxy) => requests.map(({ headers }) => headers["x-vault-token"]);

/** Gives what is under way a while, without a clock. */
async function roundTrips(count: number): Promise<void> {
  for (let nth = 0; nth < count; nth++)
    await fetch(`${elsewhere.address}/v1/turn`).then((each) => each.text());
}

const checks: Record<string, (candidate: Candidate) => Promise<unknown>> = {
  async "sends each token with its own request"({ connect }) {
    const client = await connect(server.address);
    for (const token of ["first", "second"]) await client.read("a", call(token));
    expect(tokens(server)).toEqual(["first", "second"]);
  },

  async "renews a lease of a year in due time"({ keep }) {
    server.breakWith(
      answering(200, {}, { auth: { client_token: "t", renewable: true, lease_duration: year } }),
    );
    await keep(server.address);
    await roundTrips(20);
    expect(server.takeLog()).toEqual(["POST /v1/auth/approle/login"]);
  },

  async "does not follow a redirect with the token"({ connect }) {
    elsewhere.requests.length = 0;
    server.breakWith(answering(307, { location: `${elsewhere.address}/v1/a` }));
    await (await connect(server.address)).read("a", call("token")).catch(() => {});
    expect(tokens(elsewhere)).toEqual([]);
  },

  async "sends a path as it was encoded"({ connect }) {
    const path = "secret/data/%2e%2e/../auth/token/lookup-self";
    await (await connect(server.address)).read(path, call());
    expect(server.takeLog()).toEqual([`GET /v1/${path}`]);
  },

  async "takes no refusal for a success, whatever the path"({ connect }) {
    server.breakWith(answering(403));
    const client = await connect(server.address);
    await expect(client.read("secret/data/sys/health", call())).rejects.toThrow("status 403");
  },

  async "logs in at a mount with odd characters"({ logIn }) {
    server.breakWith(answering(200, {}, { auth: { client_token: "t", lease_duration: 0 } }));
    await logIn(server.address, "my/app=role'x");
    expect(server.takeLog()).toEqual(["POST /v1/auth/my/app%3Drole'x/login"]);
  },

  async "logs in from a pod at the usual mount"({ logInFromPod }) {
    server.breakWith(answering(200, {}, { auth: { client_token: "t", lease_duration: 0 } }));
    await logInFromPod(server.address);
    expect(server.takeLog()).toEqual(["POST /v1/auth/kubernetes/login"]);
  },

  async "prints no token and no value, also with DEBUG"({ program }) {
    const auth = { client_token: "s.sesame", lease_duration: 0 };
    server.breakWith(answering(200, {}, { auth, data: { password: "s.sesame" } }));
    const args = ["--input-type=module", "--eval", program(server.address)];
    const env = { PATH: process.env.PATH, DEBUG: "*" };
    const { stdout, stderr } = await execute(process.execPath, args, { cwd: root, env });
    expect(server.takeLog()).toEqual(["POST /v1/auth/approle/login", "GET /v1/a"]);
    expect(stdout + stderr).not.toContain("s.sesame");
  },

  async "fails without the token in the error"({ connect }) {
    server.breakWith((_, response) => {
      response.destroy();
      return true;
    });
    const failed = (await connect(server.address)).read("a", call("s.sesame"));
    const error = await failed.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(Error);
    expect(inspect(error, { depth: null, showHidden: true })).not.toContain("s.sesame");
  },

  async "ends when it is told to"({ connect }) {
    server.breakWith(() => true);
    const ending = new AbortController();
    let ended = false;
    const client = await connect(server.address);
    client
      .read("a", { signal: ending.signal })
      .catch(() => {})
      .finally(() => {
        ended = true;
      });
    await roundTrips(1);
    ending.abort();
    await roundTrips(20);
    expect(ended).toBe(true);
  },

  async "takes nothing but JSON for an answer"({ connect }) {
    server.breakWith(answering(200, {}, "<html>sign in</html>"));
    await expect((await connect(server.address)).read("a", call())).rejects.toThrow();
  },

  async "takes no answer without end"({ connect }) {
    server.breakWith(answering(200, {}, `"${"x".repeat(9 * 1024 * 1024)}"`));
    await expect((await connect(server.address)).read("a", call())).rejects.toThrow();
  },

  async "takes no token and no namespace from the environment"({ connect }) {
    vi.stubEnv("VAULT_TOKEN", "s.environment");
    vi.stubEnv("VAULT_NAMESPACE", "environment");
    vi.stubEnv("VAULT_PREFIX", "/environment");
    await (await connect(server.address)).read("a", call());
    const [{ headers, path }] = server.requests as [(typeof server.requests)[0]];
    expect([path, headers["x-vault-token"], headers["x-vault-namespace"]]).toEqual([
      "/v1/a",
      undefined,
      undefined,
    ]);
  },

  async "says that it is a client of Vault, which agents can demand"({ connect }) {
    await (await connect(server.address)).read("a", call());
    expect(server.requests[0]?.headers["x-vault-request"]).toBe("true");
  },

  async "checks certificates, also with VAULT_SKIP_VERIFY=false"({ connect }) {
    vi.stubEnv("VAULT_SKIP_VERIFY", "false");
    const { address } = await startTlsServer();
    await expect((await connect(address)).read("a", call())).rejects.toThrow();
  },
};

/** A server with a certificate that only it believes in. */
async function startTlsServer() {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-tls-"));
  const [key, certificate] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const subject = ["-subj", "/CN=vault", "-addext", "subjectAltName=IP:127.0.0.1"];
  const made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out", certificate];
  execFileSync("openssl", ["req", "-x509", "-nodes", "-days", "1", ...made, ...subject], { stdio: "ignore" });
  const ca = readFileSync(certificate, "utf8");
  const tls = createServer({ key: readFileSync(key), cert: ca }, (_, response) => {
    response.end("{}");
  }).listen(0, "127.0.0.1");
  await once(tls, "listening");
  onTestFinished(() => void tls.close());
  return { address: `https://127.0.0.1:${(tls.address() as AddressInfo).port}`, ca };
}

describe("the client", () => {
  test.each(Object.entries(checks))("%s", async (_, check) => {
    await check(own);
  });

  test("trusts the certificates that it is given", async () => {
    const { address, ca } = await startTlsServer();
    const client = await createVaultClient({ address, ca: async () => ca });
    onTestFinished(() => client.close());
    expect(await client.read("a", call())).toEqual({});
  });
});

describe("plain node-vault fails where the client", () => {
  test.each(Object.entries(checks))("%s", async (_, check) => {
    const outcome = await check(plain).then(
      () => "passes",
      () => "fails",
    );
    expect(outcome).toBe("fails");
  });
});
