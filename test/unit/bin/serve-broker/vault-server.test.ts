import { describe, expect, test } from "vitest";
import { vaultServer } from "../../../../bin/serve-broker/vault-server.ts";

const files = { read: async (path: string) => `contents of ${path}`, tokenFile: "/home/ci/.vault-token" };
const addressed = (environment: Record<string, string>) =>
  vaultServer({ VAULT_ADDR: "https://vault.example", ...environment }, files);

/** How a server logs in, its files read. */
async function logIn(environment: Record<string, string>) {
  const server = addressed(environment);
  if ("missing" in server) throw new Error(server.missing);
  const entries = Object.entries(server.logIn).map(async ([name, value]) => [
    name,
    typeof value === "function" ? await value() : value,
  ]);
  return Object.fromEntries(await Promise.all(entries));
}

describe("the address of Vault", () => {
  test.each([
    ["https://vault.example:8200", "https://vault.example:8200"],
    ["http://127.0.0.1:8200/", "http://127.0.0.1:8200/"],
    ["https://gateway.example/vault", "https://gateway.example/vault"],
  ])("%s is taken", (address) => expect(addressed({ VAULT_ADDR: address })).toMatchObject({ address }));

  test.each([
    "vault.example",
    "unix:///run/vault",
    "https://user:word@vault.example",
    "https://",
    "https://v/?a",
    "https://v/#a",
  ])("%s is told to be none", (address) =>
    expect(addressed({ VAULT_ADDR: address })).toEqual({ missing: "VAULT_ADDR is not an http or https URL" }),
  );

  test("is missing where nobody set it, or to nothing", () => {
    expect(vaultServer({}, files)).toEqual({ missing: "VAULT_ADDR is not set" });
    expect(addressed({ VAULT_ADDR: "" })).toEqual({ missing: "VAULT_ADDR is not set" });
  });

  test("OpenBao's own variable comes first", () => {
    expect(addressed({ BAO_ADDR: "https://bao.example" })).toMatchObject({ address: "https://bao.example" });
  });

  test("comes with the certificates to trust", async () => {
    const server = addressed({ VAULT_CACERT: "/ca.pem" });
    expect("ca" in server && (await server.ca?.())).toBe("contents of /ca.pem");
  });
});

describe("the log-in is by", () => {
  const appRole = { VAULT_APPROLE_ROLE_ID: "r", VAULT_APPROLE_SECRET_ID: "s" };
  const jwt = { VAULT_JWT_ROLE: "ci", VAULT_JWT_FILE: "/jwt" };
  const kubernetes = { VAULT_KUBERNETES_ROLE: "pod" };
  const podToken = "contents of /var/run/secrets/kubernetes.io/serviceaccount/token";

  test.each<[string, Record<string, string>, object]>([
    ["a token", { VAULT_TOKEN: "t", ...appRole, ...jwt }, { method: "token", token: "t" }],
    ["OpenBao's token first", { VAULT_TOKEN: "t", BAO_TOKEN: "b" }, { method: "token", token: "b" }],
    ["AppRole", { ...appRole, ...jwt }, { method: "approle", mount: "approle", roleId: "r", secretId: "s" }],
    ["JWT", { ...jwt, ...kubernetes }, { method: "jwt", mount: "jwt", role: "ci", jwt: "contents of /jwt" }],
    [
      "a pod's service account",
      kubernetes,
      { method: "kubernetes", mount: "kubernetes", role: "pod", jwt: podToken },
    ],
    [
      "a service account of another file, at another mount",
      { ...kubernetes, VAULT_KUBERNETES_TOKEN_FILE: "/k", VAULT_AUTH_MOUNT: "clusters/a" },
      { method: "kubernetes", mount: "clusters/a", role: "pod", jwt: "contents of /k" },
    ],
    ["a token with a line break behind it", { VAULT_TOKEN: "t\n" }, { method: "token", token: "t" }],
    ["what vault login left", {}, { method: "token", token: "contents of /home/ci/.vault-token" }],
  ])("%s", async (_, environment, expected) => expect(await logIn(environment)).toEqual(expected));
});

test("a token that no request can carry is told by its variable, and not shown", () => {
  const { missing } = addressed({ VAULT_TOKEN: "hvs.a\nhvs.b" }) as { missing: string };
  expect(missing).toMatch(/^VAULT_TOKEN is not a token/);
  expect(missing).not.toContain("hvs");
});
