/** G1: the broker hands plaintext to nobody but inside the encrypted payload of a redemption. */
import { createHash, randomUUID } from "node:crypto";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { cmdProvider } from "../../broker/providers/cmd.ts";
import { allow, fixedProvider, startBroker, type TestBroker } from "../support/broker.ts";

const values = {
  text: "correct-horse-battery-staple",
  binary: Buffer.from("00ff0a0d5c22f09f9491deadbeefcafe", "hex"),
};

/** The forms in which a value could be in a text; base64 in all three alignments, without its uncertain ends. */
function formsOf(value: string | Buffer): string[] {
  const bytes = Buffer.from(value);
  const aligned = [0, 1, 2].map((shift) => {
    const encoded = Buffer.concat([Buffer.alloc(shift), bytes]).toString("base64");
    return encoded.slice(shift === 0 ? 0 : shift + 1, -4);
  });
  const url = aligned.map((form) => form.replaceAll("+", "-").replaceAll("/", "_"));
  const hashes = (["hex", "base64url", "base64"] as const).map((encoding) =>
    createHash("sha256").update(bytes).digest(encoding),
  );
  const list = [...bytes].join(",");
  return [
    bytes.toString("latin1"),
    bytes.toString("utf8"),
    bytes.toString("hex"),
    bytes.toString("hex").toUpperCase(),
    bytes.toString("hex").replaceAll(/..(?=.)/g, "$& "),
    list,
    list.replaceAll(",", ", "),
    ...aligned,
    ...url,
    ...hashes,
  ];
}

const forbidden = Object.values(values).flatMap(formsOf);

/** A text, and what the base64url in it decodes to: the claims of a handle are there for anyone to read. */
function readable(text: string): string[] {
  const decoded = (text.match(/[A-Za-z0-9_-]{16,}/g) ?? []).map((run) => Buffer.from(run, "base64url"));
  return [text, ...decoded.flatMap((bytes) => [bytes.toString("latin1"), bytes.toString("utf8")])];
}

/** Everything that a broker lets out. */
function everything({ answers, log, audit }: TestBroker): string[] {
  const entries = inspect(log, {
    showHidden: true,
    depth: null,
    maxStringLength: null,
    maxArrayLength: null,
  });
  return [...answers, entries, audit.text].flatMap(readable);
}

function expectNoPlaintext(broker: TestBroker): void {
  const texts = everything(broker);
  for (const form of forbidden) {
    const leak = texts.find((text) => text.includes(form));
    expect(leak, `a form of the value: ${form}`).toBeUndefined();
  }
}

async function setUp(seams: Parameters<typeof startBroker>[0] = {}) {
  const broker = await startBroker({
    environment: { TOKEN: values.text },
    providers: [fixedProvider({ key: values.binary })],
    ...seams,
  });
  const executor = await broker.executor();
  const issue = () => executor.client.issue([{ uri: "env://TOKEN", cacheKey: "k" }, { uri: "fixed://key" }]);
  return { broker, executor, issue };
}

describe("no answer, log entry or audit record holds a value, in whatever encoding,", () => {
  test("when handles are issued, redeemed and redeemed again", async () => {
    const { broker, executor, issue } = await setUp();
    const handles = (await issue()).map(({ handle }) => handle);
    const id = randomUUID();
    for (const status of [200, 200]) {
      expect((await broker.redeem(executor, handles, { id })).status).toBe(status);
    }
    expect(broker.audit.records.map(({ outcome }) => outcome)).toEqual([
      "issued",
      "issued",
      "released",
      "released",
      "repeat",
      "repeat",
    ]);
    expectNoPlaintext(broker);
  });

  test("when values are wrapped, looked at, checked, refused and revoked", async () => {
    const { broker, executor } = await setUp();
    const { accessToken } = executor;
    const authorization = `Bearer ${accessToken}`;
    const [text, binary] = await Promise.all(
      [values.text, values.binary].map((value) => broker.wrapped(value, accessToken)),
    );
    const send = (method: string, path: string, body?: unknown) =>
      broker.send(method, path, body, { authorization });
    const secrets = [{ value: text }, { value: binary, name: "key" }];
    const wrapped = await send("POST", "/v1/handles/wrap", { secrets });
    const { handles } = (await wrapped.json()) as { handles: { jti: string; handle: string }[] };
    const presented = handles.map(({ handle }) => handle);
    expect((await send("GET", `/v1/handles/${handles[0]!.jti}`)).status).toBe(200);
    expect((await broker.check(executor, presented)).status).toBe(200);
    expect((await broker.redeem(executor, presented)).status).toBe(200);
    expect((await send("DELETE", `/v1/handles/${handles[0]!.jti}`)).status).toBe(200);
    expect((await broker.check(executor, presented)).status).toBe(410);
    const misplaced = { secrets: [{ value: text, jkt: "x".repeat(43) }, { value: binary }] };
    expect((await send("POST", "/v1/handles/wrap", misplaced)).status).toBe(400);
    expect((await send("POST", "/v1/handles/wrap", { secrets: [{ value: values.text }] })).status).toBe(400);
    expectNoPlaintext(broker);
  });

  test("when it is refused: spent, unproven, unknown, forbidden", async () => {
    const { broker, executor, issue } = await setUp({
      rules: [allow(["**"], { limits: { ttl: 60, uses: 1, cacheKeys: ["k"] } })],
    });
    const handles = (await issue()).map(({ handle }) => handle);
    await broker.redeem(executor, handles);
    expect((await broker.redeem(executor, handles)).status).toBe(410);
    expect((await broker.redeem(await broker.executor(), handles)).status).toBe(400);
    await expect(executor.client.issue([{ uri: "env://TOKEN", ttl: 61 }])).rejects.toThrow();
    await expect(executor.client.issue([{ uri: "env://TOKEN" }, { uri: "env://NONE" }])).rejects.toThrow();
    expectNoPlaintext(broker);
  });

  test("when the audit log cannot be written, for handles and for values", async () => {
    const { broker, executor, issue } = await setUp();
    const handles = (await issue()).map(({ handle }) => handle);
    broker.audit.broken = true;
    expect((await broker.redeem(executor, handles)).status).toBe(503);
    await expect(issue()).rejects.toThrow();
    expectNoPlaintext(broker);
  });

  test("when a provider throws with the value in its words", async () => {
    const leaky = {
      ...fixedProvider({}),
      read: async () => {
        throw new Error(`the upstream said no to ${values.text}`);
      },
    };
    const { broker, executor } = await setUp({ providers: [leaky] });
    await expect(executor.client.issue([{ uri: "env://TOKEN" }, { uri: "fixed://key" }])).rejects.toThrow();
    expectNoPlaintext(broker);
  });

  test("and this search would find it: it does in a handle's claims, base64url as they are", () => {
    const claims = Buffer.from(JSON.stringify({ name: values.text })).toString("base64url");
    expect(readable(`{"handle":"x.${claims}.y"}`).some((text) => text.includes(values.text))).toBe(true);
  });
});

describe("a value that was pasted where a URI belongs", () => {
  const pasted = [
    values.text,
    `env://${values.text}`,
    `env://${values.text.replaceAll("-", "_")}`,
    `${values.text}://x`,
    `env://TOKEN?${values.text}=1`,
    `env://TOKEN?trim=${values.text}`,
    `env://TOKEN?${values.text}`,
    `ENV://${values.text}`,
    `vault://${values.text}`,
  ];

  test.each(pasted)("%s is nowhere told or written beyond its first 3 characters", async (uri) => {
    const { broker, executor } = await setUp({ rules: [allow(["fixed://*"])] });
    const authorization = `Bearer ${executor.accessToken}`;
    const refused = await broker.send("POST", "/v1/handles", { secrets: [{ uri }] }, { authorization });
    expect(refused.status).toBeGreaterThanOrEqual(400);
    expect(broker.audit.latest).toMatchObject([{ outcome: "denied" }]);
    for (const text of everything(broker)) {
      expect(text).not.toMatch(/corr|correct[-_]horse|battery|staple/);
    }
  });

  test("is not repeated either when it is no known field of the request", async () => {
    const { broker, executor } = await setUp();
    const authorization = `Bearer ${executor.accessToken}`;
    const body = { secrets: [{ uri: "env://TOKEN", [values.text]: values.text, ttl: values.text }] };
    const refused = await broker.send("POST", "/v1/handles", body, { authorization });
    expect(refused.status).toBe(400);
    expectNoPlaintext(broker);
  });
});

test("a command may hold a secret itself, so the audit log names it by a keyed hash, from issue to redemption", async () => {
  const provider = cmdProvider({
    commands: "any",
    environment: { PATH: process.env.PATH },
    workingDirectory: "/",
  });
  const { broker, executor } = await setUp({ providers: [provider], rules: [allow(["**"])] });
  const command = `printf ${values.text}`;
  const handles = await executor.client.issue([{ uri: `cmd://${command}` }]);
  await executor.client.redeem(handles, { masked: true });
  const uris = broker.audit.records.map(({ uri }) => uri);
  expect(uris).toHaveLength(2);
  expect(new Set(uris)).toEqual(new Set([expect.stringMatching(/^redacted:[A-Za-z0-9_-]{22}$/)]));
  expectNoPlaintext(broker);
});
