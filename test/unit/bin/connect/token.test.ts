/** Where a client finds its token, and in which order it looks. */
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { tokenSource } from "../../../../bin/connect/token.ts";
import { Failure } from "../../../../shared/failure.ts";
import { makeFolder } from "../../../support/served.ts";

const audience = "https://broker.example";

afterEach(() => {
  vi.useRealTimers();
});

async function failureOf(act: () => unknown): Promise<Failure> {
  const thrown = await Promise.resolve()
    .then(act)
    .catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(Failure);
  return thrown as Failure;
}

/** As GitHub's runner answers a job with `id-token: write`. */
async function startRunner(lifetime = 300) {
  const requests: IncomingMessage[] = [];
  let status = 200;
  const server = createServer((request, response) => {
    requests.push(request);
    const exp = Math.floor(Date.now() / 1000) + lifetime;
    const value = [
      "e30",
      Buffer.from(JSON.stringify({ exp, nth: requests.length })).toString("base64url"),
      "sig",
    ].join(".");
    response.writeHead(status, { location: "/elsewhere" }).end(JSON.stringify({ value }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  return {
    requests,
    answerWith(next: number) {
      status = next;
    },
    env: {
      ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${port}/token?api-version=2.0`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: "runner-credential",
    },
  };
}

describe("a token", () => {
  test("is looked for at the flag, in the variable, in the variable's file, and at GitHub, in this order", async () => {
    const folder = makeFolder({ flag: "of-the-flag\n", file: "of-the-file\n" });
    const { env, requests } = await startRunner();
    const file = { ...env, CLAIMCHECK_TOKEN_FILE: join(folder, "file") };
    const variable = { ...file, CLAIMCHECK_TOKEN: "of-the-variable" };
    expect(await tokenSource(join(folder, "flag"), variable, audience)()).toBe("of-the-flag");
    expect(await tokenSource(undefined, variable, audience)()).toBe("of-the-variable");
    expect(await tokenSource(undefined, file, audience)()).toBe("of-the-file");
    expect(requests).toEqual([]);
    expect(await tokenSource(undefined, env, audience)()).toMatch(/^e30\./);
    expect(await failureOf(() => tokenSource(undefined, {}, audience))).toMatchObject({ code: "usage" });
  });

  test("in a file is read again at each use", async () => {
    const folder = makeFolder({ token: "first" });
    const find = tokenSource(undefined, { CLAIMCHECK_TOKEN_FILE: join(folder, "token") }, audience);
    expect(await find()).toBe("first");
    writeFileSync(join(folder, "token"), "second\n");
    expect(await find()).toBe("second");
    writeFileSync(join(folder, "token"), " \n");
    expect(await failureOf(find)).toMatchObject({ detail: `CLAIMCHECK_TOKEN_FILE ${folder}/token is empty` });
  });

  test("has no white space around it, wherever it comes from", async () => {
    const { env, requests } = await startRunner();
    const spaced = { ...env, ACTIONS_ID_TOKEN_REQUEST_TOKEN: "runner-credential\n" };
    expect(await tokenSource(undefined, { CLAIMCHECK_TOKEN: "\t e30.e30.x\r\n" }, audience)()).toBe(
      "e30.e30.x",
    );
    expect(await tokenSource(undefined, spaced, audience)()).toMatch(/^e30\./);
    expect(requests[0]?.headers.authorization).toBe("Bearer runner-credential");
  });

  test.each([" \n", "e30\ne30", "two words", "e30.\ufffd"])(
    "that no request can carry is told by its variable, and not shown: %j",
    async (token) => {
      const failure = await failureOf(() => tokenSource(undefined, { CLAIMCHECK_TOKEN: token }, audience));
      expect(failure).toMatchObject({ code: "usage", detail: expect.stringMatching(/^CLAIMCHECK_TOKEN /) });
      expect(failure.detail).not.toContain(token.trim() || "nothing");
      const folder = makeFolder({ token });
      const find = tokenSource(join(folder, "token"), {}, audience);
      expect(await failureOf(find)).toMatchObject({ code: "usage" });
    },
  );

  test("in a file that is not there is missed with its name", async () => {
    const find = tokenSource("/nowhere/token", {}, audience);
    expect(await failureOf(find)).toMatchObject({
      detail: "--token-file /nowhere/token cannot be read (ENOENT)",
    });
  });
});

describe("GitHub", () => {
  test("is asked for the broker's audience, with the job's credential", async () => {
    const { env, requests } = await startRunner();
    await tokenSource(undefined, env, audience)();
    const [{ url, headers } = {} as IncomingMessage] = requests;
    expect(url).toBe("/token?api-version=2.0&audience=https%3A%2F%2Fbroker.example");
    expect(headers?.authorization).toBe("Bearer runner-credential");
  });

  test("is asked for an audience that names our key, where we have one", async () => {
    const { env, requests } = await startRunner();
    await tokenSource(undefined, env, audience, "k".repeat(43))();
    const { searchParams } = new URL(requests[0]?.url ?? "", "http://runner.example");
    expect(searchParams.get("audience")).toBe(`${audience}#jkt=${"k".repeat(43)}`);
  });

  test("is asked again when a minute is left, not before", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
    const { env, requests } = await startRunner();
    const find = tokenSource(undefined, env, audience);
    const first = await find();
    vi.setSystemTime(Date.now() + 240_000);
    expect(await find()).toBe(first);
    vi.setSystemTime(Date.now() + 1_000);
    expect(await find()).not.toBe(first);
    expect(requests).toHaveLength(2);
  });

  test.each([403, 500, 302])(
    "that answers %i gives no token, and its credential goes nowhere else",
    async (status) => {
      const { env, requests, answerWith } = await startRunner();
      answerWith(status);
      const failure = await failureOf(tokenSource(undefined, env, audience));
      expect(failure).toMatchObject({ code: "token_unavailable" });
      expect(String(failure)).not.toContain("runner-credential");
      expect(requests).toHaveLength(1);
    },
  );

  test("is not asked in clear text", async () => {
    const env = {
      ACTIONS_ID_TOKEN_REQUEST_URL: "http://runner.example/",
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: "x",
    };
    expect(await failureOf(() => tokenSource(undefined, env, audience))).toMatchObject({ code: "usage" });
  });
});
