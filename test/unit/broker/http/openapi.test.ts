/** openapi.yaml and the code say the same, whichever of the two is read first. */
import { afterEach, describe, expect, test, vi } from "vitest";
import * as z from "zod/mini";
import { AuditEntry, AuditLine } from "../../../../broker/audit/record.ts";
import { sha256Of } from "../../../../broker/keys/keys.ts";
import { sealMarks } from "../../../../broker/keys/marks.ts";
import { AuditPage, AuditQuery } from "../../../../broker/requests/read-audit.ts";
import { routes as executorRoutes } from "../../../../executor/server/server.ts";
import { RunEvent, RunRequest } from "../../../../executor/server/wire.ts";
import { ClaimcheckError, type ErrorCode, errorCodes } from "../../../../shared/errors.ts";
import { verifyHandle } from "../../../../shared/handle.ts";
import { makeProof } from "../../../../shared/proof.ts";
import { Secret } from "../../../../shared/secret.ts";
import * as wire from "../../../../shared/wire.ts";
import { brokerUrl, startBroker } from "../../../support/broker.ts";
import {
  type Answer,
  contract,
  examplesOf,
  executorOperations,
  type Json,
  operations,
  resolve,
  text,
} from "../../../support/openapi.ts";

const environment = { API_TOKEN: "guessme", DEPLOY_KEY: "sesame\n" };

/** What a schema demands: without words, and without the bounds that JavaScript's integers have of themselves. */
function demands(schema: Json): Json {
  if (Array.isArray(schema)) return schema.map(demands);
  if (typeof schema !== "object" || schema === null) return schema;
  const kept = Object.entries(schema).filter(
    ([name, value]) =>
      !(name === "$schema" || (name === "description" && typeof value === "string")) &&
      !((name === "minimum" || name === "maximum") && Math.abs(Number(value)) === Number.MAX_SAFE_INTEGER),
  );
  return Object.fromEntries(kept.map(([name, value]) => [name, demands(value)]));
}

const schemas = new Map<string, z.ZodMiniType>(
  Object.entries({ ...wire, AuditEntry, AuditLine, AuditPage, RunRequest, RunEvent }).flatMap(
    ([name, value]) => (value instanceof z.ZodMiniType ? [[name, value]] : []),
  ),
);

const schemaOf = (answer: Answer): string => {
  const [content] = Object.values(answer.content);
  return content!.schema.$ref.replace("#/components/schemas/", "");
};

/** Every body that the document describes. */
const bodies: [where: string, Answer][] = [
  ...[...operations, ...executorOperations].flatMap(
    ([name, { requestBody, responses }]): [string, Answer][] => [
      ...(requestBody ? [[`the request of ${name}`, requestBody] as [string, Answer]] : []),
      ...Object.entries(responses).map(([status, answer]): [string, Answer] => [
        `${status} of ${name}`,
        answer,
      ]),
    ],
  ),
  ...Object.entries(contract["x-unrouted"]),
  ...Object.entries(contract.components.responses),
];

afterEach(() => {
  vi.useRealTimers();
});

describe("the routes", () => {
  test("of the document are those of the app", async () => {
    const { app } = await startBroker();
    const routes = app.routes.filter(({ method }) => method !== "ALL");
    expect(new Set(operations.keys())).toEqual(
      new Set(routes.map(({ method, path }) => `${method} ${path}`)),
    );
  });

  test("of an executor are those of the document, and one that a broker has too", () => {
    const names = executorRoutes.map(({ method, path }) => `${method} ${path}`);
    expect(new Set(names)).toEqual(new Set([...executorOperations.keys(), "GET /healthz"]));
  });

  test.each([...operations])(
    "%s asks for a token where the app does, and for no other",
    async (name, operation) => {
      const [method, path] = name.split(" ") as [string, string];
      const { status } = await (await startBroker()).send(method, path, method === "POST" ? "{}" : undefined);
      expect(operation.security.some((way) => "bearer" in way)).toBe(status === 401);
    },
  );
});

test("the parameters of the document are those that are read, and their examples are good ones", () => {
  const parameters = operations.get("GET /v1/audit")?.parameters ?? [];
  expect(parameters.map(({ name }) => name)).toEqual(Object.keys(AuditQuery.shape));
  const examples = Object.fromEntries(parameters.map(({ name, example }) => [name, example]));
  expect(AuditQuery.safeParse(examples)).toMatchObject({ success: true });
});

describe("the schemas", () => {
  test.each([...schemas])("of the document demand what the code's do: %s", (name, schema) => {
    const documented = resolve(contract.components.schemas[name] ?? null);
    expect(demands(documented)).toEqual(demands(z.toJSONSchema(schema) as Json));
  });

  test("of the document are the code's, or parts of them", () => {
    const used = new Set([...text.matchAll(/#\/components\/schemas\/(\w+)/g)].map(([, name]) => name));
    const named = Object.keys(contract.components.schemas);
    expect(named.filter((name) => !schemas.has(name) && !used.has(name))).toEqual([]);
    expect([...schemas.keys()].filter((name) => !named.includes(name))).toEqual([]);
  });

  test("say of every field what it is", () => {
    const silent: string[] = [];
    const visit = (schema: Json, where: string) => {
      if (typeof schema !== "object" || schema === null || Array.isArray(schema)) return;
      for (const [name, field] of Object.entries((schema.properties ?? {}) as Record<string, Json>)) {
        const { description, type } = resolve(field) as { description?: string; type?: string };
        if (!description && type !== "array") silent.push(`${where}.${name}`);
        visit(field, `${where}.${name}`);
      }
      if (schema.items) visit(schema.items, `${where}[]`);
    };
    for (const [name, schema] of Object.entries(contract.components.schemas)) visit(schema, name);
    expect(silent).toEqual([]);
  });
});

describe("the error codes", () => {
  /** Those that only ever stand for one item of a batch. */
  const ofItems: readonly ErrorCode[] = [
    "secret_not_found",
    "secret_too_large",
    "provider_failed",
    "provider_denied",
    "provider_busy",
    "provider_unreachable",
    "provider_timeout",
  ];

  test("of the document are the code's, in its order, each with its status", () => {
    const { enum: codes, description } = contract.components.schemas.ErrorCode as {
      enum: string[];
      description: string;
    };
    expect(codes).toEqual(errorCodes);
    const rows = [...description.matchAll(/^\| `(\w+)` \| (\d+) \| .+ \|$/gm)];
    expect(rows.map(([, code, status]) => [code, Number(status)])).toEqual(
      errorCodes.map((code) => [code, new ClaimcheckError(code).status]),
    );
  });

  test("are each the answer of a route, or of none, or of an item of a batch", () => {
    const answered = bodies.filter(([, answer]) => schemaOf(answer) === "Problem");
    const documented = new Set(answered.flatMap(([, answer]) => Object.keys(examplesOf(answer))));
    expect(new Set([...documented, ...ofItems])).toEqual(new Set(errorCodes));
    for (const code of ofItems) expect(documented.has(code)).toBe(false);
  });

  test.each(bodies.filter(([where]) => /^[45]/.test(where)))(
    "under %s have that status and the table's words",
    (where, answer) => {
      for (const [name, body] of Object.entries(examplesOf(answer))) {
        const { code, status, title, type, failures = [] } = wire.Problem.parse(body);
        expect(code).toBe(name);
        expect(String(status)).toBe(where.slice(0, 3));
        const said = new ClaimcheckError(code).problem();
        expect({ type, title, status }).toEqual({ type: said.type, title: said.title, status: said.status });
        for (const failure of failures)
          expect(failure.message).toBe(new ClaimcheckError(failure.code).message);
      }
    },
  );
});

describe("the examples", () => {
  test.each(bodies)("of %s fit its schema", (_, answer) => {
    const schema = schemas.get(schemaOf(answer));
    const examples = Object.values(examplesOf(answer));
    expect(examples).not.toEqual([]);
    for (const example of examples) expect(schema?.safeParse(example)).toMatchObject({ success: true });
  });

  const { requestBody: asked, responses: answered } = operations.get("POST /v1/handles")!;
  const { requestBody: redeemed } = operations.get("POST /v1/redemptions")!;
  const { handles } = examplesOf(answered["200"]!).bound as wire.IssueResponse;
  const { handle, jti, expires } = handles[0]!;
  const secret = () => new Secret(Buffer.from(environment.API_TOKEN));
  // The keys of RFC 8037 (appendix A) and RFC 7517 (appendix A.2), which everybody has.
  const publicJwk = { kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" };
  const d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

  /** A broker at the time of the examples. */
  async function startThen() {
    vi.useFakeTimers({ toFake: ["Date"], now: (expires - 900) * 1000 });
    const broker = await startBroker({ environment });
    return { broker, accessToken: await broker.token() };
  }

  test.each(Object.entries(examplesOf(asked!)))("of asking for handles are answered: %s", async (_, body) => {
    const { broker, accessToken } = await startThen();
    const answer = await broker.send("POST", "/v1/handles", body, { authorization: `Bearer ${accessToken}` });
    expect(answer.status).toBe(200);
    wire.IssueResponse.parse(await answer.json());
  });

  test("show the very handle that the first of them is answered with, but for its id and its digest, which goes by the id", async () => {
    const { broker, accessToken } = await startThen();
    const body = examplesOf(asked!).bound;
    const answer = await broker.send("POST", "/v1/handles", body, { authorization: `Bearer ${accessToken}` });
    const [issued] = wire.IssueResponse.parse(await answer.json()).handles;
    const [shown, made] = await Promise.all(
      [handle, issued!.handle].map((each) => verifyHandle(each, broker.keys.findKey, brokerUrl)),
    );
    const digest = broker.keys.handleDigest("acme", issued!.jti, sha256Of(secret()));
    expect(made).toEqual({ ...shown, jti: issued!.jti, digest });
    expect(shown!.digest).toBe(broker.keys.handleDigest("acme", jti, sha256Of(secret())));
    expect(shown).toMatchObject({ jti, exp: expires });
  });

  test.each(Object.entries(examplesOf(redeemed!)))("of redeeming are answered: %s", async (_, body) => {
    const { broker, accessToken } = await startThen();
    const { uses } = await verifyHandle(handle, broker.keys.findKey, brokerUrl);
    const sealed = broker.keys.seal("acme", jti, secret());
    const marks = { digest: broker.keys.digest("acme", secret()), cacheId: "" };
    const fields = {
      tenant: "acme",
      jti,
      subject: "ci",
      uri: "env://API_TOKEN",
      marks: sealMarks(broker.keys, "acme", jti, marks),
      uses,
      expires,
      value: jti,
      size: environment.API_TOKEN.length,
    };
    await broker.store.put([{ ...fields, sealed, mac: broker.keys.recordMac(fields) }]);

    const sent = JSON.stringify(body);
    const { key } = wire.RedemptionRequest.parse(body);
    const privateKey = await crypto.subtle.importKey("jwk", { ...publicJwk, d }, "Ed25519", false, ["sign"]);
    const url = `${brokerUrl}/v1/redemptions`;
    const covered = { method: "POST", url, accessToken, body: sent, encryptionKey: key };
    const { jwt: dpop } = await makeProof(covered, { privateKey, publicJwk });
    const headers = { authorization: `DPoP ${accessToken}`, dpop };
    const answer = await broker.send("POST", "/v1/redemptions", sent, headers);
    expect(answer.status).toBe(200);
    wire.RedemptionResponse.parse(await answer.json());
  });

  test("of the keys, of health and of readiness are what a broker answers", async () => {
    const { broker } = await startThen();
    for (const path of ["/.well-known/jwks.json", "/healthz", "/readyz"]) {
      const answer = await broker.send("GET", path);
      const [example] = Object.values(examplesOf(operations.get(`GET ${path}`)!.responses["200"]!));
      expect(await answer.json()).toEqual(example);
    }
  });
});
