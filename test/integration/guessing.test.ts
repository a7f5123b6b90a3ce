/**
 * What a requester can find out about a secret that it may use and not read: over HTTP, from a policy file, with
 * secrets of its own beside it that it can set to whatever it wants to compare.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import { startIssuer } from "../parts/issuer.ts";
import { makeFolder, serve } from "../support/served.ts";
import { sourcesOf } from "../support/sources.ts";

/** Every tenth of a thousand: the one that is looked for is among them. */
const guesses = Array.from({ length: 100 }, (_, nth) => String(nth * 10 + 2).padStart(4, "0"));
const pin = "0042";

async function setUp() {
  const ci = await startIssuer("ES256");
  const { jkt } = await createIdentity();
  const bank = makeFolder({ pin });
  const own = makeFolder({});
  for (const guess of guesses) writeFileSync(join(own, guess), guess);
  const policy = `version: 1
issuers:
  ci: { issuer: "${ci.url}", algorithms: [ES256] }
tenants:
  acme:
    principals:
      - { issuer: ci, claims: { sub: job }, roles: [requester] }
      - { issuer: ci, claims: { sub: host }, roles: [executor], proofKeys: ["${jkt}"] }
    rules:
      - { name: pins, actions: [issue], who: { sub: job }, secrets: ["file://**"], limits: { audience: ["ci:host"], cacheKeys: [build] } }
      - { name: hosts, actions: [redeem, check], who: { sub: host }, secrets: ["file://**"] }
`;
  const { url } = await serve(
    ci,
    sourcesOf(["acme"], { files: { provider: "file", roots: [bank, own] } }),
    {},
    { policy },
  );
  const token = await ci.sign({ sub: "job", aud: url });

  async function claimsOf(paths: readonly string[], terms: object = {}): Promise<Record<string, unknown>[]> {
    const secrets = paths.map((path) => ({
      uri: `file://${path}`,
      audience: "ci:host",
      name: "pin",
      ...terms,
    }));
    const answer = await fetch(`${url}/v1/handles`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ secrets }),
    });
    const { handles } = (await answer.json()) as { handles: { handle: string }[] };
    return handles.map(({ handle }) =>
      JSON.parse(Buffer.from(handle.split(".")[1] as string, "base64url").toString()),
    );
  }
  return { bank, own, claimsOf };
}

/** What is the same in the handle of the secret and in those of some guesses, and not of all: it tells them apart. */
const telling = (secret: Record<string, unknown>, tried: readonly Record<string, unknown>[]) =>
  Object.keys(secret).filter((claim) => {
    const equal = tried.filter((each) => JSON.stringify(each[claim]) === JSON.stringify(secret[claim]));
    return equal.length > 0 && equal.length < tried.length;
  });

test.each([
  ["without a cache key", {}],
  ["with one", { cacheKey: "build" }],
])("comparing handles, %s, tells a requester no PIN", async (_, terms) => {
  const { bank, own, claimsOf } = await setUp();
  const [secret] = await claimsOf([`${bank}/pin`], terms);
  const tried = await claimsOf(
    guesses.map((guess) => `${own}/${guess}`),
    terms,
  );
  expect(tried).toHaveLength(guesses.length);
  expect(telling(secret as Record<string, unknown>, tried)).toEqual([]);
});

test("two handles for one secret have no more in common than two for different ones", async () => {
  const { bank, own, claimsOf } = await setUp();
  const [first, again] = await claimsOf([`${bank}/pin`, `${bank}/pin`]);
  const [other] = await claimsOf([`${own}/0002`]);
  const common = (one: object, another: object) =>
    Object.entries(one).flatMap(([claim, value]) =>
      JSON.stringify((another as Record<string, unknown>)[claim]) === JSON.stringify(value) ? [claim] : [],
    );
  const [alike, unlike] = [common(first!, again!), common(first!, other!)];
  const times = ["iat", "exp"];
  expect(alike.filter((claim) => !times.includes(claim))).toEqual(
    unlike.filter((claim) => !times.includes(claim)),
  );
});
