/** What every route has in common: tokens, bodies, methods, the log. */
import * as jose from "jose";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { bodyLimit, Problem } from "../../shared/wire.ts";
import { allow, brokerUrl, startBroker } from "../support/broker.ts";
import { operations, text } from "../support/openapi.ts";

const broker = await startBroker({ environment: { API_TOKEN: "guessme" }, rules: [allow(undefined)] });
const authorization = `Bearer ${await broker.token()}`;
const stranger = await jose.generateKeyPair("EdDSA");
const good = { secrets: [{ uri: "env://API_TOKEN" }] };

async function problemOf(response: Response) {
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  expect(response.headers.get("cache-control")).toBe("no-store");
  const problem = Problem.parse(await response.json());
  expect(problem.status).toBe(response.status);
  return problem;
}

describe("a token", () => {
  const signed = (payload: jose.JWTPayload) =>
    new jose.SignJWT({ sub: "ci", iss: "urn:claimcheck:throwaway:acme", aud: brokerUrl, ...payload })
      .setProtectedHeader({ alg: "EdDSA" })
      .setExpirationTime("1h")
      .sign(stranger.privateKey);
  const unsigned = (payload: object) =>
    [{ alg: "none" }, payload]
      .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
      .join(".");

  test.each<[string, string, () => Promise<string | undefined>]>([
    ["that is not there", "token_missing", async () => undefined],
    ["of another scheme", "token_missing", async () => "Basic Y2k6Y2k="],
    ["that is empty", "token_missing", async () => "Bearer "],
    ["that is no JWT", "token_invalid", async () => "Bearer nonsense"],
    [
      "of an unknown issuer",
      "issuer_unknown",
      async () => `Bearer ${await signed({ iss: "https://evil.example" })}`,
    ],
    ["without an issuer", "issuer_unknown", async () => `Bearer ${unsigned({ sub: "ci" })}.`],
    ["that somebody else signed", "token_invalid", async () => `Bearer ${await signed({})}`],
    [
      "that nobody signed",
      "token_invalid",
      async () =>
        `Bearer ${unsigned({ sub: "ci", iss: "urn:claimcheck:throwaway:acme", aud: brokerUrl, exp: 9e9 })}.`,
    ],
    [
      "for another audience",
      "token_invalid",
      async () => `Bearer ${await broker.token({ audience: "https://other.example" })}`,
    ],
    ["that has expired", "token_expired", async () => `Bearer ${await broker.token({ lifetime: -1 })}`],
  ])("%s is not accepted, and the log says why", async (_, reason, make) => {
    const header = await make();
    for (const path of ["/v1/handles", "/v1/redemptions"]) {
      const refused = await broker.send(
        "POST",
        path,
        good,
        header === undefined ? {} : { authorization: header },
      );
      expect(refused.headers.get("www-authenticate")).toBe('DPoP algs="EdDSA Ed25519 ES256", Bearer');
      expect(await problemOf(refused)).toMatchObject({ status: 401, code: "unauthenticated" });
      expect(broker.log.at(-1)).toMatchObject({ status: 401, code: reason, route: path });
    }
  });

  test.each(["Bearer", "DPoP", "bearer"])("is accepted as %s", async (scheme) => {
    const headers = { authorization: `${scheme} ${await broker.token()}` };
    expect((await broker.send("POST", "/v1/handles", good, headers)).status).toBe(200);
  });

  test("is never in the log, whether it was good or not", async () => {
    const token = await broker.token();
    await broker.send("POST", "/v1/handles", good, { authorization: `Bearer ${token}` });
    await broker.send("POST", "/v1/handles", good, { authorization: `Bearer ${token}x` });
    expect(JSON.stringify(broker.log)).not.toContain(token.split(".")[2]);
  });
});

describe("a body", () => {
  const ask = (body: unknown) => broker.send("POST", "/v1/handles", body, { authorization });

  test.each<[string, unknown, string]>([
    ["that is no JSON", "{", "the body is not JSON"],
    ["that is empty", "", "the body is not JSON"],
    ["of another kind", [], "wrong or missing: the body"],
    ["without a field", {}, "wrong or missing: secrets"],
    ["with an empty list", { secrets: [] }, "wrong or missing: secrets"],
    ["with a field too many", { ...good, extra: 1 }, "wrong or missing: the body"],
    [
      "with a number as text",
      { secrets: [{ uri: "env://A", ttl: "60" }] },
      "wrong or missing: secrets.0.ttl",
    ],
    ["with no uses", { secrets: [{ uri: "env://A", uses: 0 }] }, "wrong or missing: secrets.0.uses"],
    [
      "with a part of a second",
      { secrets: [{ uri: "env://A", ttl: 1.5 }] },
      "wrong or missing: secrets.0.ttl",
    ],
    ...["\ud800", "a\udc00b", "\u0000", "a\nb", "\u009b"].flatMap((text): [string, object, string][] => [
      [
        `with a run called ${JSON.stringify(text)}`,
        { secrets: [{ uri: "env://A" }], run: text },
        "wrong or missing: run",
      ],
      [
        `with ${JSON.stringify(text)} for an audience`,
        { secrets: [{ uri: "env://A", audience: text }] },
        "wrong or missing: secrets.0.audience",
      ],
    ]),
    [
      "with half a character in a URI",
      { secrets: [{ uri: "env://A\ud800" }] },
      "wrong or missing: secrets.0.uri",
    ],
    ["with no thumbprint", { secrets: [{ uri: "env://A", jkt: "x" }] }, "wrong or missing: secrets.0.jkt"],
  ])("%s is refused with the place where it is wrong", async (_, body, detail) => {
    expect(await problemOf(await ask(body))).toMatchObject({ status: 400, code: "invalid_request", detail });
  });

  test.each(["/v1/handles", "/v1/redemptions"])("larger than a mebibyte is refused by %s", async (path) => {
    const refused = await broker.send("POST", path, "x".repeat(bodyLimit + 1), { authorization });
    expect(await problemOf(refused)).toMatchObject({ status: 413, code: "body_too_large" });
    expect(refused.headers.get("connection")).toBe("close");
  });

  test("larger than a mebibyte is refused too when it does not say its length", async () => {
    const stream = new ReadableStream({
      pull(controller) {
        controller.enqueue(Buffer.alloc(64 * 1024, "x"));
      },
    });
    const request = new Request(`${brokerUrl}/v1/handles`, {
      method: "POST",
      headers: { authorization, "content-type": "application/json" },
      body: stream,
      duplex: "half",
    } as RequestInit);
    expect(await problemOf(await broker.app.request(request))).toMatchObject({ code: "body_too_large" });
  });

  test.each(["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])(
    "that is said to be %j is not read",
    async (type) => {
      const refused = await broker.send("POST", "/v1/handles", good, { authorization, "content-type": type });
      expect(await problemOf(refused)).toMatchObject({ status: 415, code: "unsupported_media_type" });
    },
  );

  test.each(["application/json", "application/json; charset=utf-8", "Application/JSON"])(
    "that is said to be %j is read",
    async (type) => {
      const headers = { authorization, "content-type": type };
      expect((await broker.send("POST", "/v1/handles", good, headers)).status).toBe(200);
    },
  );

  test("of exactly a mebibyte is read", async () => {
    expect(await problemOf(await ask("x".repeat(bodyLimit)))).toMatchObject({ code: "invalid_request" });
  });
});

test("the contract is served as the document that the tests go by", async () => {
  const answer = await broker.send("GET", "/openapi.json");
  expect(await answer.json()).toEqual(parse(text));
});

describe("a route", () => {
  test.each([
    ["GET", "/"],
    ["GET", "/v1"],
    ["POST", "/v1/handles/"],
    ["POST", "/v1/handle"],
    ["GET", "/v1/redemptions/x"],
  ])("%s %s is not there", async (method, path) => {
    expect(await problemOf(await broker.send(method, path))).toMatchObject({
      status: 404,
      code: "not_found",
    });
  });

  test.each([
    ["GET", "/v1/handles", "POST"],
    ["PUT", "/v1/redemptions", "POST"],
    ["DELETE", "/v1/handles", "POST"],
    ["PUT", "/v1/handles/x", "GET, DELETE"],
    ["PUT", "/v1/handles/check", "POST"],
    ["GET", "/v1/revocations", "POST"],
    ["POST", "/healthz", "GET"],
    ["POST", "/.well-known/jwks.json", "GET"],
  ])("does not know %s %s, and says that it knows %s", async (method, path, known) => {
    const refused = await broker.send(method, path);
    expect(refused.headers.get("allow")).toBe(known);
    expect(await problemOf(refused)).toMatchObject({ status: 405, code: "method_not_allowed" });
  });

  test("under /v1 lets nobody keep its answer, and is documented so", async () => {
    const executor = await broker.executor();
    const [handle] = await executor.client.issue([{ uri: "env://API_TOKEN", uses: 2 }]);
    const ask = (method: string, path: string, body?: unknown) =>
      broker.send(method, path, body, { authorization });
    const { jti } = handle!.claims;
    const value = await broker.wrapped("guessme", executor.accessToken);
    const wrapping = { authorization: `Bearer ${executor.accessToken}` };
    const answers: Record<string, Response> = {
      "POST /v1/handles": await ask("POST", "/v1/handles", good),
      "POST /v1/handles/wrap": await broker.send(
        "POST",
        "/v1/handles/wrap",
        { secrets: [{ value }] },
        wrapping,
      ),
      "POST /v1/handles/check": await broker.check(executor, [handle!.handle]),
      "GET /v1/handles/:jti": await ask("GET", `/v1/handles/${jti}`),
      "POST /v1/redemptions": await broker.redeem(executor, [handle!.handle]),
      "POST /v1/receipts": await broker.attest(executor, [handle!.handle]),
      "DELETE /v1/handles/:jti": await ask("DELETE", `/v1/handles/${jti}`),
      "POST /v1/revocations": await ask("POST", "/v1/revocations", { subject: "ci" }),
      "GET /v1/whoami": await ask("GET", "/v1/whoami"),
      "GET /v1/audit": await ask("GET", "/v1/audit"),
      "GET /v1/audit/head": await ask("GET", "/v1/audit/head"),
    };
    const routes = [...operations].filter(([name]) => name.includes(" /v1/"));
    expect(Object.keys(answers).sort()).toEqual(routes.map(([name]) => name).sort());
    for (const [name, { responses }] of routes) {
      const { status, headers } = answers[name] as Response;
      expect({ name, status, kept: headers.get("cache-control") }).toEqual({
        name,
        status: 200,
        kept: "no-store",
      });
      expect(Object.keys(responses[status]?.headers ?? {})).toContain("Cache-Control");
    }
  });

  test("tells its health and its keys to anyone", async () => {
    expect(await (await broker.send("GET", "/healthz")).json()).toEqual({ status: "ok" });
    expect(await (await broker.send("GET", "/.well-known/jwks.json")).json()).toEqual(broker.keys.jwks);
  });
});

describe("the log", () => {
  test("has one entry a request, with nothing of its body", async () => {
    const before = broker.log.length;
    await broker.send("POST", "/v1/handles", good, { authorization });
    expect(broker.log.slice(before)).toEqual([
      {
        request: expect.any(String),
        method: "POST",
        route: "/v1/handles",
        status: 200,
        seconds: expect.any(Number),
      },
    ]);
  });

  test("shares the request's id with the audit log", async () => {
    await broker.send("POST", "/v1/handles", good, { authorization });
    expect(broker.audit.latest).toMatchObject([{ request: broker.log.at(-1)?.request }]);
  });

  test("has the cause of what nobody foresaw, and the client does not", async () => {
    const failing = await startBroker({
      environment: { API_TOKEN: "guessme" },
      store: {
        ...broker.store,
        put: async () => {
          throw new Error("connection to 10.0.0.7 lost");
        },
      },
    });
    const headers = { authorization: `Bearer ${await failing.token()}` };
    const problem = await problemOf(await failing.send("POST", "/v1/handles", good, headers));
    expect(problem).toEqual({
      type: "urn:claimcheck:error:internal",
      title: "Claimcheck failed unexpectedly.",
      status: 500,
      code: "internal",
    });
    expect(String(failing.log.at(-1)?.cause)).toContain("10.0.0.7");
  });
});
