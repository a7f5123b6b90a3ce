/** claimcheck issue, inspect and revoke, as processes that speak to a broker of their own. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { freePort } from "../parts/free-port.ts";
import { startIssuer } from "../parts/issuer.ts";
import { startListener } from "../parts/listener.ts";
import { claimcheck } from "../support/command.ts";
import { startDevBroker } from "../support/dev-broker.ts";
import { makeFolder, serve } from "../support/served.ts";

const uris = ["env://API_TOKEN", "env://DEPLOY_KEY"];
const id = /^[0-9a-f-]{36}$/;
const jkt = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

const claimsOf = (handle: string) =>
  JSON.parse(Buffer.from(handle.split(".")[1] ?? "", "base64url").toString());

describe("with a broker that allows everything", () => {
  let env: Record<string, string>;

  beforeEach(async () => {
    ({ env } = await startDevBroker({ API_TOKEN: "guessme", DEPLOY_KEY: "sesame" }));
  });

  const ask = (...args: string[]) => claimcheck(args, { env });

  /** @returns what it printed. */
  async function succeed(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await ask(...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout;
  }

  test("one URI prints a handle and nothing else, on the terms that were asked for", async () => {
    const terms = ["--ttl", "10m", "--uses", "2", "--audience", "deployer", "--jkt", jkt, "--run", "build-1"];
    const printed = await succeed("issue", ...terms, "TOKEN=env://API_TOKEN?trim=newline&cacheKey=npm");
    expect(printed).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    const claims = claimsOf(printed);
    expect(claims).toMatchObject({
      name: "TOKEN",
      uses: 2,
      aud: "deployer",
      run: "build-1",
      cache_key: "npm",
    });
    expect(claims).toMatchObject({ cnf: { jkt }, exp: claims.iat + 600 });
  });

  test("several print NAME=HANDLE, or one JSON document", async () => {
    const named = uris.map((uri, index) => `S${index}=${uri}`);
    const lines = (await succeed("issue", ...named)).trim().split("\n");
    expect(lines.map((line) => claimsOf(line).name)).toEqual(["S0", "S1"]);
    expect(lines.map((line) => line.split("=")[0])).toEqual(["S0", "S1"]);

    const json = JSON.parse(await succeed("issue", "--format", "json", ...named));
    expect(json).toEqual(
      ["S0", "S1"].map((name) => ({
        name,
        jti: expect.stringMatching(id),
        handle: expect.any(String),
        expires: expect.any(Number),
      })),
    );
  });

  test("handles are inspected and revoked by the file that they are in, and by their ids", async () => {
    const lines = await succeed("issue", "--run", "build-2", ...uris.map((uri, index) => `S${index}=${uri}`));
    const [first, second] = lines
      .trim()
      .split("\n")
      .map((line) => claimsOf(line).jti as string);
    const file = `@${join(makeFolder({ handles: lines }), "handles")}`;

    const shown = await succeed("inspect", file);
    expect(shown).toMatch(
      new RegExp(
        `^id +${first}\nasked +by user\nrun +build-2\nleft +1 of 1\nexpires +20[^\n]+Z\n\nid +${second}\n`,
      ),
    );
    expect(JSON.parse(await succeed("inspect", first as string, "--format", "json"))).toEqual([
      { jti: first, subject: "user", run: "build-2", uses: 1, left: 1, expires: expect.any(Number) },
    ]);

    expect(await succeed("revoke", first as string)).toBe(`revoked ${first}\n`);
    // The first is gone already, which does not keep the second alive.
    const { code, stdout, stderr } = await ask("revoke", file);
    expect({ code, stdout }).toEqual({ code: 125, stdout: `revoked ${second}\n` });
    expect(stderr).toBe(`claimcheck: Not found: ${first} [not_found]\n`);
    expect((await ask("inspect", second as string)).stderr).toMatch(/\[not_found\]\n$/);
  });

  test.each([
    ["--run", "build-3", "revoked all of the run build-3\n"],
    ["--subject", "user", "revoked all of user\n"],
    ["--tenant", undefined, "revoked all of the tenant\n"],
  ])("%s revokes all of them", async (option, value, said) => {
    const jti = claimsOf(await succeed("issue", "--run", "build-3", "env://API_TOKEN")).jti;
    expect(await succeed("revoke", option, ...(value ? [value] : []))).toBe(said);
    expect((await ask("inspect", jti)).stderr).toMatch(/\[not_found\]\n$/);
  });

  test.each([
    [["issue", "hunter2hunter2"], /"hun…" has no ":\/\/".*\[invalid_uri\]/],
    [["issue", "env://NOT_SET"], /\[secret_not_found\]/],
    [["issue", ...uris], /several secrets need names.*\[usage\]/],
    [["issue", "A=env://API_TOKEN", "A=env://DEPLOY_KEY"], /several secrets need names.*\[usage\]/],
    [["issue", "--ttl", "soon", "env://API_TOKEN"], /--ttl takes a time.*\[usage\]/],
    [["issue", "--uses", "0", "env://API_TOKEN"], /--uses takes a number.*\[usage\]/],
    [["issue", "--ttl", "48h", "env://API_TOKEN"], /\[forbidden\]/],
    [["inspect", "eyJhbGciOiJFZERTQSJ9.e30.c2ln"], /by their id, or by @FILE.*\[usage\]/],
    [["inspect", "@/does/not/exist"], /\/does\/not\/exist cannot be read \(ENOENT\) \[usage\]/],
    [["inspect", "@/dev/null"], /does not hold handles \[usage\]/],
    [["inspect", "00000000-0000-0000-0000-000000000000"], /\[not_found\]/],
    [["revoke"], /one of them \[usage\]/],
    [["revoke", "--run", "a", "--tenant"], /one of them \[usage\]/],
  ])("%j is one line with a code", async (args, line) => {
    const { code, stdout, stderr } = await ask(...args);
    expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
    expect(stderr).toMatch(/^claimcheck: [^\n]+\n$/);
    expect(stderr).toMatch(line);
    for (const value of ["hunter2", "eyJ", "guessme"]) expect(stderr).not.toContain(value);
  });
});

test("without a broker, or without a token, nothing is asked", async () => {
  const nowhere = await claimcheck(["issue", "env://API_TOKEN"]);
  expect(nowhere.stderr).toMatch(/CLAIMCHECK_BROKER.*\[usage\]\n$/);
  const nobody = await claimcheck(["revoke", "--tenant", "--broker", "https://broker.example"]);
  expect(nobody.stderr).toMatch(/needs a token.*\[usage\]\n$/);
  const gone = await claimcheck(["revoke", "--tenant", "--broker", `http://127.0.0.1:${await freePort()}`], {
    env: { CLAIMCHECK_TOKEN: "eyJhbGciOiJub25lIn0.e30.", CLAIMCHECK_BROKER_KEYS: "x" },
  });
  expect(gone.stderr).toMatch(/^claimcheck: [^\n]*ECONNREFUSED\) \[broker_unreachable\]\n$/);
});

test("what the policy does not allow is refused, and a token is found in a file", async () => {
  const issuer = await startIssuer("ES256");
  const { url, keys } = await serve(issuer);
  const env = { CLAIMCHECK_BROKER_KEYS: keys };
  const folder = makeFolder({ token: await issuer.sign({ sub: "ci", aud: url }) });
  const where = ["--broker", url, "--token-file", join(folder, "token")];
  const handle = await claimcheck(["issue", ...where, "env://API_TOKEN"], { env });
  expect(claimsOf(handle.stdout)).toMatchObject({ sub: "ci:ci", tenant: "acme" });
  const all = await claimcheck(["revoke", ...where, "--tenant"], { env });
  expect(all).toMatchObject({ code: 125, stdout: "" });
  expect(all.stderr).toMatch(/all of the tenant \[forbidden\]\n$/);
});

test("a token that names no key is sealed in every command's requests", async () => {
  const issuer = await startIssuer("ES256");
  const listen = await freePort();
  const policy = `version: 1
issuers:
  ci: { issuer: "${issuer.url}", algorithms: [ES256] }
tenants:
  acme:
    principals:
      - { issuer: ci, claims: { sub: "**" }, roles: [requester, executor, operator], confined: sealed }
    rules:
      - { name: variables, actions: [issue, redeem], secrets: ["env://**"] }
      - { name: operators, actions: [inspect, revoke] }
`;
  const { url, port, keys } = await serve(issuer, "", {}, { policy }, (folder) => {
    const path = join(folder, "broker.yaml");
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.replace(/^listen: .*$/m, `listen: 127.0.0.1:${listen}`));
  });
  const heard = await startListener(port, listen);
  const token = await issuer.sign({ sub: "ci", aud: url });
  const env = { CLAIMCHECK_BROKER: url, CLAIMCHECK_BROKER_KEYS: keys, CLAIMCHECK_TOKEN: token };
  const ask = async (...args: string[]) => {
    const before = heard().length;
    const { code, stdout, stderr } = await claimcheck(args, { env });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(heard().slice(before)).toMatch(/authorization: DPoP /i);
    return stdout;
  };
  const { jti } = claimsOf(await ask("issue", "env://API_TOKEN"));
  await ask("inspect", jti);
  await ask("revoke", jti);
  expect(heard()).not.toContain(token);
});
