/** Sources of tenants, through broker.yaml and HTTP: two real OpenBao servers, two accounts of the 1Password stand-in. */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openIssuer, type TestIssuer } from "../parts/issuer.ts";
import { type OnePassword, startOnePassword } from "../parts/onepassword.ts";
import { answering, type Bao, type FaultProxy, startBao, startProxy } from "../parts/openbao.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/broker-process.ts";
import { claimcheck } from "../support/command.ts";
import { makeFolder, policyOf } from "../support/served.ts";

const everything = '["vault://**", "op://**", "env://**"]';
const policyFor = (issuer: string) => `version: 1
issuers:
  ci: { issuer: "${issuer}", algorithms: [ES256] }
tenants:
  acme:
    principals:
      - { issuer: ci, claims: { sub: "acme-*" }, roles: [requester] }
    rules:
      - { name: all, actions: [issue], secrets: ${everything} }
      - { name: barred, effect: deny, actions: [issue], secrets: ["vault://shared/barred#token"] }
      - { name: second barred, effect: deny, actions: [issue], secrets: ["vault://shared/app#token?source=acme-second"], who: { sub: acme-barred } }
  rival:
    principals:
      - { issuer: ci, claims: { sub: "rival-*" }, roles: [requester] }
    rules:
      - { name: all, actions: [issue], secrets: ${everything} }
`;

let ci: TestIssuer;
let servers: Bao[];
let proxies: FaultProxy[];
let accounts: OnePassword[];
let broker: BrokerProcess;
let fields: string;

const json = JSON.stringify;

beforeAll(async () => {
  ci = await openIssuer("ES256");
  servers = await Promise.all([startBao(), startBao()]);
  for (const [nth, server] of servers.entries()) {
    await server.call("POST", "sys/mounts/shared", { type: "kv", options: { version: "2" } });
    for (const name of ["app", "barred"]) {
      await server.call("POST", `shared/data/${name}`, { data: { token: `value-${nth}` } });
    }
  }
  proxies = await Promise.all(servers.map(({ address }) => startProxy(address)));
  accounts = await Promise.all(
    ["acme", "rival"].map((value) =>
      startOnePassword({ Infra: { Database: [{ id: "password", label: "password", value }] } }),
    ),
  );
  const vault = (nth: number, tenant: string) => ({
    provider: "vault",
    tenants: [tenant],
    address: proxies[nth]?.address,
    auth: { token: `env://VAULT_${nth}` },
  });
  const op = (nth: number, tenant: string) => ({
    provider: "op",
    tenants: [tenant],
    token: `env://OP_${nth}`,
    signInOrigins: [accounts[nth]?.origin],
  });
  fields = `cacheTtl: 600\nsources: ${json({
    "acme-vault": vault(0, "acme"),
    "rival-vault": vault(1, "rival"),
    "acme-op": op(0, "acme"),
    "rival-op": op(1, "rival"),
    "both-variables": { provider: "env", tenants: ["acme", "rival"], variables: ["API_TOKEN"] },
  })}\n`;
  broker = await startBrokerProcess({
    policy: policyFor(ci.url),
    fields,
    env: {
      VAULT_0: servers[0]!.token,
      VAULT_1: servers[1]!.token,
      OP_0: accounts[0]!.token(),
      OP_1: accounts[1]!.token(),
    },
  });
});

afterAll(async () => {
  await broker.end("SIGKILL");
  await broker.remove();
  await Promise.all([...proxies, ...servers, ...accounts].map((each) => each.close()));
  ci.stop();
});

async function ask(sub: string, uri: string) {
  const answer = await fetch(`${broker.url}/v1/handles`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${await ci.sign({ sub, aud: broker.url })}`,
      "content-type": "application/json",
    },
    body: json({ secrets: [{ uri }] }),
  });
  const body = (await answer.json()) as {
    code?: string;
    handles?: { jti: string }[];
    failures?: { code: string; detail?: string }[];
  };
  if (body.handles) {
    const record = records().find(({ jti }) => jti === body.handles?.[0]?.jti) as {
      uri: string;
      digest: string;
    };
    return { uri: record.uri, digest: record.digest };
  }
  return body.failures?.[0] ?? body;
}

const records = () =>
  readFileSync(broker.auditFile, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, string>);

const readiness = async () => (await fetch(`${broker.url}/readyz`)).json();

/** Another broker.yaml in the place of the first, and the event that says what came of it. */
async function putFields(change: (text: string) => string, outcome: string): Promise<void> {
  const path = join(broker.folder, "broker.yaml");
  const seen = broker.said.join("").split(`"sources":"${outcome}"`).length;
  writeFileSync(`${path}.new`, change(readFileSync(path, "utf8")));
  renameSync(`${path}.new`, path);
  await expect
    .poll(() => broker.said.join("").split(`"sources":"${outcome}"`).length, { timeout: 10_000 })
    .toBeGreaterThan(seen);
}

describe("two tenants with a source of each scheme", () => {
  test.each([
    ["vault://shared/app#token", "vault"],
    ["op://infra/database/password", "op"],
  ])("read %s each from their own", async (uri, kind) => {
    const [own, other] = [await ask("acme-1", uri), await ask("rival-1", uri)];
    expect(own).toMatchObject({ uri: `${uri}?source=acme-${kind}` });
    expect(other).toMatchObject({ uri: `${uri}?source=rival-${kind}` });
  });

  test("cannot name the other's source, and hear nothing of whether it exists", async () => {
    const named = await ask("rival-1", "vault://shared/app#token?source=acme-vault");
    const invented = await ask("rival-1", "vault://shared/app#token?source=acm-nothing");
    expect(named).toEqual({
      ...invented,
      code: "invalid_uri",
      detail: '"source=acm…" names no source of vault:// here; there is source=rival-vault',
    });
  });

  test("never share a read: what is cached for one is read again for the other, from the other's server", async () => {
    await ask("acme-1", "vault://shared/app#token");
    for (const proxy of proxies) proxy.takeLog();
    await ask("acme-1", "vault://shared/app#token");
    expect(proxies.map((proxy) => proxy.takeLog())).toEqual([[], []]);
    await ask("rival-1", "vault://shared/app#token?ttl=0");
    expect(proxies[0]!.takeLog()).toEqual([]);
    expect(proxies[1]!.takeLog()).toEqual(["GET /v1/shared/data/app"]);
  });

  test("do not feel that the other's source fails, and /readyz and metrics say whose it is", async () => {
    proxies[0]!.breakWith(answering(503, { "retry-after": "86400" }));
    try {
      expect(await ask("acme-1", "vault://shared/app#token?ttl=0")).toMatchObject({
        code: "provider_failed",
        detail: "the source acme-vault: the Vault server answers with status 503",
      });
      expect(await ask("rival-1", "vault://shared/app#token?ttl=0")).toMatchObject({
        uri: "vault://shared/app#token?source=rival-vault",
      });
      expect(await readiness()).toEqual({
        status: "degraded",
        complaints: [
          { part: "source acme-vault", message: expect.stringContaining("sends it none for a while") },
        ],
      });
    } finally {
      proxies[0]!.mend();
    }
  });

  test("are told apart by the audit log, and no value or token is in it", () => {
    const text = readFileSync(broker.auditFile, "utf8");
    for (const { tenant, uri } of records().filter(({ outcome }) => outcome === "issued")) {
      expect(uri).toMatch(new RegExp(`source=(${tenant}-|both-)`));
    }
    for (const secret of [servers[0]!.token, servers[1]!.token, "value-0", "value-1"]) {
      expect(text).not.toContain(secret);
      expect(broker.said.join("")).not.toContain(secret);
    }
  });
});

describe("a source that is added while the broker runs", () => {
  const second = () =>
    json({
      "acme-second": {
        provider: "vault",
        tenants: ["acme"],
        address: proxies[1]?.address,
        auth: { token: "env://VAULT_1" },
      },
    }).slice(1, -1);

  test("is taken, and a URI that could mean two has to say which", async () => {
    await putFields((text) => text.replace("sources: {", `sources: {${second()},`), "taken");
    expect(await ask("acme-1", "vault://shared/app#token")).toMatchObject({
      code: "invalid_uri",
      detail:
        "vault:// can mean more than one source here: add source=acme-second or source=acme-vault to the URI",
    });
    for (const source of ["acme-second", "rival-vault"]) {
      const sub = source.startsWith("acme") ? "acme-1" : "rival-1";
      expect(await ask(sub, `vault://shared/app#token?ttl=0&source=${source}`)).toMatchObject({
        uri: `vault://shared/app#token?source=${source}`,
      });
    }
  });

  test("makes no rule miss that denies, and a rule can be about one source", async () => {
    for (const source of ["acme-second", "acme-vault"]) {
      expect(await ask("acme-1", `vault://shared/barred#token?source=${source}`)).toMatchObject({
        code: "forbidden",
      });
    }
    expect(await ask("acme-barred", "vault://shared/app#token?source=acme-vault")).toMatchObject({
      digest: expect.any(String),
    });
    expect(await ask("acme-barred", "vault://shared/app#token?source=acme-second")).toMatchObject({
      code: "forbidden",
    });
  });

  test("is not taken where something is wrong, and the others go on", async () => {
    await putFields((text) => text.replace("env://VAULT_1", "hunter2"), "refused");
    expect(await readiness()).toMatchObject({
      complaints: expect.arrayContaining([
        { part: "sources", message: expect.stringContaining("broker.yaml cannot be used") },
      ]),
    });
    expect(await ask("rival-1", "vault://shared/app#token?ttl=0")).toMatchObject({
      digest: expect.any(String),
    });
    await putFields((text) => text.replace("hunter2", "env://VAULT_1").replace(`${second()},`, ""), "taken");
  });

  test("is not taken for a tenant that the policy does not have, and the others go on", async () => {
    await putFields((text) => text.replace('"tenants":["rival"]', '"tenants":["rivel"]'), "refused");
    expect(await ask("rival-1", "vault://shared/app#token?ttl=0")).toMatchObject({
      digest: expect.any(String),
    });
  });
});

describe("claimcheck broker check", () => {
  const vault = (auth: object, more: object = {}) => ({
    provider: "vault",
    tenants: ["acme"],
    address: servers[0]!.address,
    auth,
    ...more,
  });
  async function check(entries: object, env: Record<string, string> = {}, further = "") {
    const folder = makeFolder({
      "root-key": Buffer.alloc(32, 7),
      "policy.yaml": policyOf(
        "https://ci.example",
        `      - { name: a, actions: [issue], secrets: ["vault://**"] }\n`,
      ),
      "broker.yaml": `url: https://broker.example\nrootKey: { file: root-key }\npolicy: policy.yaml\naudit: audit.jsonl\nsources: ${json(entries)}\n${further}`,
    });
    const { code, stdout, stderr } = await claimcheck(["broker", "check", join(folder, "broker.yaml")], {
      env,
    });
    return { code, stdout, stderr: stderr.replaceAll(`${folder}/`, "") };
  }

  test("logs in to each source, also by a credential that is in another one", async () => {
    const [server] = servers as [Bao];
    await server.call("POST", "sys/auth/approle", { type: "approle" });
    await server.call("POST", "auth/approle/role/ci", { token_policies: "default" });
    const { role_id: roleId } = (await server.call("GET", "auth/approle/role/ci/role-id")).data;
    const { secret_id: secretId } = (await server.call("POST", "auth/approle/role/ci/secret-id", {})).data;
    await server.call("POST", "shared/data/approle", { data: { secretId } });
    const entries = {
      root: vault({ token: "env://ROOT" }),
      app: vault({ approle: { roleId, secretId: "vault://shared/approle#secretId?source=root" } }),
      bad: vault({ token: "env://BAD" }),
    };
    const { code, stdout } = await check(entries, { ROOT: server.token, BAD: "no-token" });
    expect(code).toBe(125);
    expect(stdout.split("\n")).toEqual([
      "source root: logged in",
      "source app: logged in",
      "source bad: the Vault token is invalid or has expired [provider_denied]",
      "",
    ]);
  });

  test("names what the operator wrote, and no variable of another broker", async () => {
    const entries = {
      op: { provider: "op", tenants: ["acme"], token: "env://TOKEN" },
      ca: vault({ token: "env://TOKEN" }, { ca: "no-such-file" }),
    };
    const { stdout, stderr } = await check(entries, { TOKEN: "sesame" });
    expect(`${stdout}${stderr}`).toContain(
      "source op: the token of the source op is not a service account's token",
    );
    expect(`${stdout}${stderr}`).toContain("source ca: sources.ca.ca cannot be read (ENOENT)");
  });

  test("refuses tenants that the policy does not have", async () => {
    const entries = { one: vault({ token: "env://ROOT" }, { tenants: ["acme", "akme"] }) };
    expect((await check(entries)).stderr).toContain(
      "broker.yaml:5: sources.one.tenants: the policy has no tenant akme; it has acme",
    );
  });

  test.each<[string, object, string]>([
    [
      "credentials that lead back to themselves",
      {
        one: { token: "vault://shared/a#b?source=two" },
        two: { token: "vault://shared/a#b?source=one" },
      },
      "sources.one: its credentials lead back to itself (one → two → one)",
    ],
    [
      "a credential of a source that is not there",
      { one: { token: "vault://a/b#c?source=gone" } },
      "names the source gone, which is not there",
    ],
    [
      "a credential of another scheme's source",
      { one: { token: "op://a/b/c?source=one" } },
      "names the source one, which reads vault://",
    ],
    ["a credential without a source", { one: { token: "vault://a/b#c" } }, "names no source"],
    [
      "a credential that is no URI",
      { one: { token: "hvs.sesame" } },
      "the URI of a secret, never the secret itself",
    ],
  ])("refuses %s, and shows no credential", async (_, auths, fault) => {
    const entries = Object.fromEntries(Object.entries(auths).map(([name, auth]) => [name, vault(auth)]));
    const { code, stderr } = await check(entries);
    expect(code).toBe(125);
    expect(stderr).toContain(fault);
    expect(stderr).not.toContain("hvs.sesame");
  });

  test.each([
    ["env: [A]", "env: variables belong to tenants: write sources:"],
    ["files: [/srv]", "files: folders belong to tenants: write sources:"],
    ['commands: ["true"]', "commands: commands belong to tenants: write sources:"],
  ])("says what to write instead of %s", async (line, said) => {
    expect((await check({}, {}, `${line}\n`)).stderr).toContain(`broker.yaml:6: ${said}`);
  });

  test("keeps what the broker logs in with from those who read variables", async () => {
    const entries = {
      one: vault({ token: "env://ROOT" }),
      own: { provider: "env", tenants: ["acme"], variables: ["ROOT"] },
    };
    expect((await check(entries)).stderr).toContain("sources.own: ROOT is how the broker logs in to one");
  });

  test("refuses a plain address beyond this host", async () => {
    const entries = { one: vault({ token: "env://ROOT" }, { address: "http://vault.example" }) };
    expect((await check(entries)).stderr).toContain("sources.one.address: https; http only on loopback");
  });
});
