/** vault:// against a real server: what it reads, how it says no, how it logs in. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { rootCertificates } from "node:tls";
import * as jose from "jose";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { vaultProvider } from "../../broker/providers/vault.ts";
import type { LogIn } from "../../broker/providers/vault-session.ts";
import { until } from "../parts/host.ts";
import { answering, type Bao, type FaultProxy, startBao, startProxy, whereas } from "../parts/openbao.ts";
import { reader } from "../support/provider.ts";

let bao: Bao;
let proxy: FaultProxy;
/** Mounts: KV of both versions, one of several segments, one whose name needs care. */
let [one, two, deep, odd] = ["", "", "", ""];

beforeAll(async () => {
  bao = await startBao();
  proxy = await startProxy(bao.address);
  [one, two, deep, odd] = await Promise.all([
    bao.mount("one", 1),
    bao.mount("two", 2),
    bao.mount("deep/er/kv", 2),
    bao.mount("odd 'mount'", 2),
  ]);
});

afterAll(async () => {
  await proxy.close();
  await bao.close();
});

beforeEach(() => {
  proxy.requests.length = 0;
});

afterEach(() => proxy.mend());

type Settings = Partial<Parameters<typeof vaultProvider>[0]>;

const withToken = (token: string): LogIn => ({ method: "token", token: async () => token });

function connect(logIn: LogIn = withToken(bao.token), settings: Settings = {}) {
  const provider = vaultProvider({ server: { address: proxy.address, logIn }, ...settings });
  onTestFinished(() => provider.close?.());
  return reader(provider);
}

const encoded = (path: string) => path.split("/").map(encodeURIComponent).join("/");

/** Writes a secret into a mount of version 2. */
async function write(mount: string, path: string, data: object, headers?: Record<string, string>) {
  await bao.call("POST", `${encoded(mount)}/data/${encoded(path)}`, { data }, headers);
}

const missing = (detail: string) => ({ code: "secret_not_found", detail });
const denied = { code: "provider_denied", detail: expect.stringContaining("the token's policy denies it") };

describe("reading", () => {
  test("finds KV of version 1 and of version 2, and mounts of several segments", async () => {
    await bao.call("POST", `${one}/app/db`, { password: "v1" });
    await write(two, "app/db", { password: "v2" });
    await write(deep, "db", { password: "deep" });
    const uris = [
      `vault://${one}/app/db#password`,
      `vault://${two}/app/db#password`,
      `vault://${deep}/db#password`,
    ];
    expect(await connect().read(...uris)).toEqual(["v1", "v2", "deep"]);
  });

  test("takes Dagger's form with a dot, and a dot in the field with #", async () => {
    await write(two, "dotted.path", { "tls.key": "key", plain: "text" });
    expect(
      await connect().read(`vault://${two}/dotted.path.plain`, `vault://${two}/dotted.path#tls.key`),
    ).toEqual(["text", "key"]);
  });

  test.each(["a b", "q&a=1+1;x", "<i>'\"`", "ünï/cødé", "semi:colon@host", "back\\slash", "{{mustache}}"])(
    "reaches a path and a field with odd characters: %j",
    async (name) => {
      await write(two, name, { [name]: "found" });
      await write(odd, name, { [name]: "found" });
      expect(
        await connect().read(`vault://${two}/${name}#${name}`, `vault://${odd}/${name}#${name}`),
      ).toEqual(["found", "found"]);
    },
  );

  test("gives a field that is no string as JSON text, numbers to the last digit", async () => {
    const body = '{"data":{"n":12345678901234567890.10,"o":{"b":[1,null,"x"]},"t":true,"e":"","z":null}}';
    proxy.breakWith(
      whereas(({ path }) => path.includes("/data/json"), answering(200, {}, `{"data":${body}}`)),
    );
    const base = `vault://${two}/json`;
    expect(await connect().read(...["n", "o", "t", "e", "z"].map((field) => `${base}#${field}`))).toEqual([
      "12345678901234567890.10",
      '{"b":[1,null,"x"]}',
      "true",
      "",
      "null",
    ]);
  });

  test("finds a path of one segment under the prefix", async () => {
    await write(two, "credentials", { github: "g" });
    const { parse, read } = connect(undefined, { prefix: two });
    expect(await read("vault://credentials.github")).toEqual(["g"]);
    expect(parse("vault://credentials.github").canonical).toBe(`vault://${two}/credentials#github`);
  });

  test("finds a longer path that names no mount under the prefix only where spellings do not matter", async () => {
    await write(two, "team/app", { token: "t" });
    const uri = "vault://team/app#token";
    expect(await connect(undefined, { prefix: two, looseMounts: true }).read(uri)).toEqual(["t"]);
    expect(await connect(undefined, { prefix: two }).read(uri)).toEqual([
      missing("vault://tea… is in no mount that the token can see"),
    ]);
  });

  test("makes one read of all fields of a path, and one question of a mount", async () => {
    const fields = Object.fromEntries(Array.from({ length: 5 }, (_, nth) => [`f${nth}`, `${nth}`]));
    await Promise.all([write(two, "many", fields), write(two, "more", fields)]);
    const uris = Object.keys(fields).flatMap((field) => [
      `vault://${two}/many#${field}`,
      `vault://${two}/more#${field}`,
    ]);
    await connect().read(...uris);
    expect(proxy.takeLog().sort()).toEqual(
      [
        `GET /v1/sys/internal/ui/mounts/${two}/many`,
        `GET /v1/${two}/data/many`,
        `GET /v1/${two}/data/more`,
      ].sort(),
    );
  });

  test("keeps namespaces apart, one canonical form for both spellings of one", async ({ skip }) => {
    const namespace = `ns-${two}`;
    await bao.call("POST", `sys/namespaces/${namespace}`).catch((error: Error) => {
      // Ours has them; of Vault only the Enterprise edition.
      if (process.env.VAULT_ADDR && /unsupported path/.test(error.message)) skip("no namespaces there");
      throw error;
    });
    const inside = { "X-Vault-Namespace": namespace };
    const mount = await bao.mount("kv", 2, inside);
    await write(mount, "app", { token: "inside" }, inside);
    const uris = [
      `vault://${mount}/app#token?namespace=${namespace}`,
      `vault://${namespace}/${mount}/app#token`,
    ];
    const { parse, read } = connect();
    expect(await read(...uris)).toEqual(["inside", "inside"]);
    expect(uris.map((uri) => parse(uri).canonical)).toEqual([uris[1], uris[1]]);
    expect(await connect(undefined, { namespace }).read(`vault://${mount}/app#token`)).toEqual(["inside"]);
    expect(await read(`vault://${mount}/app#token`)).toMatchObject([{ code: "secret_not_found" }]);
  });
});

describe("versions", () => {
  const read = (path: string, version?: number) =>
    connect().read(`vault://${two}/${path}#a${version ? `?version=${version}` : ""}`);

  test("are pinned, and the latest is read otherwise", async () => {
    for (const value of ["first", "second"]) await write(two, "versions", { a: value });
    expect([await read("versions", 1), await read("versions", 2), await read("versions")]).toEqual([
      ["first"],
      ["second"],
      ["second"],
    ]);
  });

  test("that were deleted or destroyed are told apart from those that never were", async () => {
    for (const value of ["first", "second"]) await write(two, "gone", { a: value });
    await bao.call("POST", `${two}/destroy/gone`, { versions: [1] });
    await bao.call("DELETE", `${two}/data/gone`);
    expect([await read("gone", 1), await read("gone"), await read("gone", 3), await read("never")]).toEqual([
      [missing("vault://two… was destroyed, in version 1")],
      [missing("vault://two… was deleted, in version 2")],
      [missing("vault://two… does not exist")],
      [missing("vault://two… does not exist")],
    ]);
  });

  test("are none in KV of version 1", async () => {
    expect(await connect().read(`vault://${one}/app#a?version=1`)).toEqual([
      missing("vault://one…: version 1 of KV keeps no versions"),
    ]);
  });
});

describe("what is not there or not allowed", () => {
  test("a field, a mount, another engine, a field that every object has", async () => {
    await write(two, "few", { a: "1" });
    const base = `vault://${two}/few`;
    expect(
      await connect().read(
        `${base}#b`,
        `${base}#constructor`,
        "vault://no-such-mount/x#y",
        "vault://sys/x#y",
      ),
    ).toMatchObject([
      missing("vault://two… does not have this field"),
      missing("vault://two… does not have this field"),
      { code: "secret_not_found" },
      { code: expect.stringMatching(/secret_not_found|provider_failed/) },
    ]);
  });

  test("a policy denial is told as one, after one look at the token, without a log-in", async () => {
    await write(two, "allowed", { a: "1" });
    const logIn = await appRole([`path "${two}/data/allowed" { capabilities = ["read"] }`]);
    const { read } = connect(logIn);
    expect(await read(`vault://${two}/allowed#a`)).toEqual(["1"]);
    proxy.requests.length = 0;
    expect(await read(`vault://${two}/versions#a`)).toEqual([denied]);
    expect(proxy.takeLog()).toEqual([`GET /v1/${two}/data/versions`, "GET /v1/auth/token/lookup-self"]);
  });

  test("a server that nobody named is told in a sentence", async () => {
    const { read } = reader(vaultProvider({ server: { missing: "VAULT_ADDR is not set" } }));
    expect(await read("vault://a/b#c")).toEqual([
      { code: "provider_failed", detail: "VAULT_ADDR is not set" },
    ]);
  });
});

let roles = 0;

/** An AppRole of its own, with what it may do besides what every token may. */
async function appRole(
  policies: readonly string[],
  token: object = {},
): Promise<LogIn & { method: "approle" }> {
  const name = `role-${++roles}`;
  const mount = `approle ${two}/'${name}'`;
  await bao.call("POST", `sys/auth/${encoded(mount)}`, { type: "approle" });
  await bao.call("PUT", `sys/policies/acl/${two}-${name}`, { policy: policies.join("\n") });
  const role = `auth/${encoded(mount)}/role/${name}`;
  await bao.call("POST", role, { token_policies: [`${two}-${name}`], ...token });
  const { role_id: roleId } = (await bao.call("GET", `${role}/role-id`)).data;
  const { secret_id: secretId } = (await bao.call("POST", `${role}/secret-id`)).data;
  return { method: "approle", mount, roleId, secretId };
}

const readEverything = () => [`path "${two}/*" { capabilities = ["read"] }`];
const logIns = () =>
  proxy.requests.filter(({ method, path }) => method === "POST" && path.endsWith("/login"));

describe("logging in", () => {
  const uri = () => `vault://${two}/login#a`;
  beforeAll(() => write(two, "login", { a: "1" }));

  test("by AppRole, at a mount with an odd name, once for many readers", async () => {
    const { read } = connect(await appRole(readEverything()));
    expect(await read(uri(), `${uri()}?version=1`)).toEqual(["1", "1"]);
    expect(await read(`${uri()}?ttl=0`)).toEqual(["1"]);
    expect(logIns()).toHaveLength(1);
  });

  test("by JWT, which is read again for each log-in", async () => {
    const { publicKey, privateKey } = await jose.generateKeyPair("ES256");
    const mount = `jwt-${two}`;
    await bao.call("POST", `sys/auth/${mount}`, { type: "jwt" });
    await bao.call("PUT", `sys/policies/acl/${mount}`, { policy: readEverything()[0] });
    await bao.call("POST", `auth/${mount}/config`, {
      jwt_validation_pubkeys: [await jose.exportSPKI(publicKey)],
    });
    await bao.call("POST", `auth/${mount}/role/ci`, {
      role_type: "jwt",
      user_claim: "sub",
      bound_audiences: ["vault"],
      token_policies: [mount],
    });
    let made = 0;
    const jwt = () => {
      made++;
      return new jose.SignJWT()
        .setProtectedHeader({ alg: "ES256" })
        .setSubject("job")
        .setAudience("vault")
        .setIssuedAt()
        .setExpirationTime("5m")
        .sign(privateKey);
    };
    const { read } = connect({ method: "jwt", mount, role: "ci", jwt });
    expect(await read(uri())).toEqual(["1"]);
    await revoke(logIns());
    expect(await read(`${uri()}?ttl=0`)).toEqual(["1"]);
    expect(made).toBe(2);
  });

  test("by Kubernetes service account, which the cluster is asked about", async () => {
    // Stands for the cluster's TokenReview; the server asks it.
    const cluster = createServer((incoming, response) => {
      incoming.resume().on("end", () => {
        response.writeHead(201, { "content-type": "application/json" });
        const user = {
          username: "system:serviceaccount:ci:runner",
          uid: "1",
          groups: ["system:serviceaccounts"],
        };
        response.end(
          JSON.stringify({
            apiVersion: "authentication.k8s.io/v1",
            kind: "TokenReview",
            status: { authenticated: true, user },
          }),
        );
      });
    }).listen(0, "127.0.0.1");
    onTestFinished(() => void cluster.close());
    await new Promise((resolve) => cluster.once("listening", resolve));
    const { privateKey } = await jose.generateKeyPair("RS256");
    const jwt = await new jose.SignJWT({
      "kubernetes.io": { namespace: "ci", serviceaccount: { name: "runner", uid: "1" } },
    })
      .setProtectedHeader({ alg: "RS256" })
      .setIssuer("kubernetes/serviceaccount")
      .setSubject("system:serviceaccount:ci:runner")
      .setIssuedAt()
      .setExpirationTime("5m")
      .sign(privateKey);
    const mount = `kubernetes-${two}`;
    await bao.call("POST", `sys/auth/${mount}`, { type: "kubernetes" });
    await bao.call("PUT", `sys/policies/acl/${mount}`, { policy: readEverything()[0] });
    await bao.call("POST", `auth/${mount}/config`, {
      kubernetes_host: `http://127.0.0.1:${(cluster.address() as AddressInfo).port}`,
      disable_local_ca_jwt: true,
      // Demanded, though the cluster here speaks without TLS.
      kubernetes_ca_cert: rootCertificates[0],
      disable_iss_validation: true,
    });
    await bao.call("POST", `auth/${mount}/role/ci`, {
      bound_service_account_names: ["runner"],
      bound_service_account_namespaces: ["ci"],
      token_policies: [mount],
    });
    const { read } = connect({ method: "kubernetes", mount, role: "ci", jwt: async () => jwt });
    expect(await read(uri())).toEqual(["1"]);
  });

  test("that is refused says by which method, and is not tried again at once", async () => {
    const logIn = await appRole(readEverything());
    const { read } = connect({ ...logIn, secretId: "wrong" });
    const refused = { code: "provider_denied", detail: "the Vault server refuses the log-in by approle" };
    expect(await read(uri(), `vault://${two}/other#a`)).toEqual([refused, refused]);
    expect(await read(`vault://${two}/third#a`)).toEqual([refused]);
    expect(logIns()).toHaveLength(1);
  });

  test("again, once, when the token is dead: for all who notice", async () => {
    const { read } = connect(await appRole(readEverything()));
    await read(uri());
    await revoke(logIns());
    proxy.requests.length = 0;
    const fresh = ["", "?version=1"].map((query) => `${uri()}${query}${query ? "&" : "?"}ttl=0`);
    expect(await read(...fresh)).toEqual(["1", "1"]);
    expect(logIns()).toHaveLength(1);
    expect(proxy.requests.filter(({ path }) => path.endsWith("lookup-self"))).toHaveLength(1);
  });

  test("is not possible with a token alone: a dead one is told as that", async () => {
    const { read } = connect(withToken("s.dead"));
    expect(await read(uri())).toEqual([
      { code: "provider_denied", detail: "the Vault token is invalid or has expired" },
    ]);
  });

  /** Ends the token that a log-in gave, behind the back of who holds it. */
  async function revoke(of: typeof proxy.requests) {
    const used = proxy.requests.findLast(({ headers }) => headers["x-vault-token"] !== undefined);
    expect(of).toHaveLength(1);
    await bao.call("POST", "auth/token/revoke", { token: used?.headers["x-vault-token"] as string });
  }
});

describe("a lease", () => {
  const renewals = () => proxy.requests.filter(({ path }) => path === "/v1/auth/token/renew-self");
  const uri = () => `vault://${two}/lease#a`;
  beforeAll(() => write(two, "lease", { a: "1" }));

  test("is renewed when about two thirds of it are over, and again", async () => {
    const { read } = connect(await appRole(readEverything(), { token_ttl: "2s", token_max_ttl: "1h" }));
    const begun = performance.now();
    expect(await read(uri())).toEqual(["1"]);
    await until(() => renewals().length === 2);
    expect(performance.now() - begun).toBeGreaterThan(2 * 0.62 * 2000);
    expect(await read(`${uri()}?ttl=0`)).toEqual(["1"]);
    expect(logIns()).toHaveLength(1);
  });

  test("that cannot be renewed any further ends in a new log-in", async () => {
    const { read } = connect(await appRole(readEverything(), { token_ttl: "1s", token_max_ttl: "1s" }));
    while (logIns().length < 2) expect(await read(`${uri()}?ttl=0`)).toEqual(["1"]);
  });

  test("of the default 768 hours is not renewed at once: no timer overflows", async () => {
    const { read } = connect(await appRole(readEverything(), { token_ttl: "768h" }));
    await read(uri());
    await read(`${uri()}?ttl=0`);
    expect(renewals()).toEqual([]);
  });
});
