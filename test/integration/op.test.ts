/** op:// with the real SDK, against the stand-in of test/parts/onepassword.ts. */
import type { ServerResponse } from "node:http";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { opProvider } from "../../broker/providers/op.ts";
import type { Provider } from "../../broker/providers/provider.ts";
import { type OnePassword, startOnePassword } from "../parts/onepassword.ts";
import { allow, startBroker } from "../support/broker.ts";
import { reader } from "../support/provider.ts";

const many = Array.from({ length: 10 }, (_, nth) => `item ${nth}`);

let service: OnePassword;
/** One client for all tests that do not need one of their own, because a log-in takes most of a second. */
let shared: Provider;

beforeAll(async () => {
  service = await startOnePassword({
    Infra: {
      Database: [
        { label: "username", value: "root" },
        { label: "password", value: "correct horse" },
        { label: "port", section: "Network", kind: "string", value: "5432" },
        { label: "twin", section: "One", value: "1" },
        { label: "twin", section: "Two", value: "2" },
        { label: "empty", value: "" },
        { id: "TOTP_1", label: "one-time password", value: "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP" },
      ],
      Twin: [{ label: "password", value: "" }],
      ...Object.fromEntries(
        many.map((title) => [title, [{ label: "password", value: title.toUpperCase() }]]),
      ),
    },
    Other: { Database: [{ label: "password", value: "other" }] },
  });
  shared = provider();
});

afterAll(async () => {
  await shared.close?.();
  await service.close();
});

beforeEach(() => {
  service.takeLog();
});

afterEach(() => service.mend());

type Settings = Partial<Parameters<typeof opProvider>[0]>;

const provider = (settings: Settings = {}) =>
  opProvider({ token: service.token(), signInOrigins: [service.origin], version: "0.0.0", ...settings });

/** A reader with a client of its own. */
function connect(settings: Settings = {}) {
  const made = provider(settings);
  onTestFinished(() => made.close?.());
  return reader(made);
}

/** One with the client of all; what it remembers is its own. */
const read = (...uris: string[]) => reader({ ...shared, close: async () => {} }).read(...uris);

const status =
  (code: number, concerns = (route: string) => !route.includes("/auth")) =>
  ({ route }: { route: string }, response: ServerResponse) => {
    if (!concerns(route)) return false;
    response.writeHead(code, { "content-type": "application/json" });
    response.end("{}");
    return true;
  };

const password = "op://Infra/Database/password";
const signIn = /auth\/start/;
const logIns = () => service.takeLog().filter((line) => signIn.test(line)).length;

describe("reading", () => {
  test("by names, whatever their case, by section, and by ids", async () => {
    const { vault, item } = service.idsOf("Other", "Database");
    expect(
      await read(
        password,
        "op://INFRA/database/Username",
        "op://infra/database/network/port",
        `op://${vault}/${item}/password`,
      ),
    ).toEqual(["correct horse", "root", "5432", "other"]);
  });

  test("an empty field gives an empty secret", async () => {
    expect(await read("op://infra/database/empty")).toEqual([""]);
  });

  test("a one-time password", async () => {
    const [code] = await read("op://infra/database/one-time password?attribute=otp");
    expect(code).toMatch(/^\d{6}$/);
  });

  test("what a one-time password is made of, only for a rule that says so", async () => {
    const field = "op://infra/database/one-time password";
    const start = async (totpSeeds?: boolean) => {
      const limits = { ttl: 60, uses: 1, ...(totpSeeds !== undefined && { totpSeeds }) };
      const broker = await startBroker({
        providers: [{ ...shared, close: async () => {} }],
        rules: [allow(["op://**"], { name: "rule", limits })],
      });
      return { broker, executor: await broker.executor() };
    };
    for (const { broker, executor } of [await start(), await start(false)]) {
      const spellings = [field, "op://infra/database/totp_1", password];
      const answer = await broker.send(
        "POST",
        "/v1/handles",
        { secrets: spellings.map((uri) => ({ uri })) },
        { authorization: `Bearer ${executor.accessToken}` },
      );
      const detail = expect.stringMatching(
        /^op:.* is what one-time passwords are made of; ask for \?attribute=otp$/,
      );
      expect(await answer.json()).toMatchObject({
        code: "forbidden",
        failures: [0, 1].map((index) => ({ index, code: "forbidden", detail })),
      });
      const denied = { outcome: "denied", code: "totp_seed", rule: "rule" };
      expect(broker.audit.latest).toMatchObject([denied, denied]);
    }
    const { executor } = await start(true);
    const handles = await executor.client.issue([{ uri: field }]);
    const [redeemed] = await executor.client.redeem(handles, { masked: true });
    expect(Buffer.from(redeemed!.value.expose()).toString()).toBe("otpauth://totp/x?secret=JBSWY3DPEHPK3PXP");
  });

  test("nothing of a batch in which one item comes for another", async () => {
    const uris = many.slice(0, 3).map((title) => {
      const { vault, item } = service.idsOf("Infra", title);
      return `op://${vault}/${item}/password`;
    });
    expect(await read(...uris)).toEqual(["ITEM 0", "ITEM 1", "ITEM 2"]);
    service.answerInReverse();
    const mixedUp = {
      code: "provider_failed",
      detail: "1Password answered with another item than the broker requested",
    };
    expect(await read(...uris)).toEqual([mixedUp, mixedUp, mixedUp]);
  });

  test("ten items that are asked for together in one go", async () => {
    await read(password);
    service.takeLog();
    expect(await read(...many.map((title) => `op://infra/${title}/password`))).toEqual(
      many.map((title) => title.toUpperCase()),
    );
    expect(service.takeLog()).toEqual([
      "GET /api/v1/vaults",
      "GET /api/v1/vault/:id/items/overviews",
      "POST /api/v3/vault/:id/items/batch",
    ]);
  });

  test("logs in again when the session is over", async () => {
    await read(password);
    service.endSessions();
    service.takeLog();
    expect(await read(password)).toEqual(["correct horse"]);
    expect(logIns()).toBe(1);
  });
});

describe("what the SDK says about one reference", () => {
  test.each([
    ["no/such/vault", "secret_not_found", "op://no/such/vault names no vault that the service account sees"],
    ["infra/nothing/password", "secret_not_found", "op://infra/nothing/password names no item"],
    ["infra/database/nothing", "secret_not_found", "op://infra/database/nothing names no field"],
    ["infra/database/nothing/port", "secret_not_found", "op://infra/database/nothing/port names no section"],
    [
      "infra/database/twin",
      "provider_failed",
      "op://infra/database/twin names more than one field; name its section",
    ],
    [
      "infra/database/password?attribute=otp",
      "provider_failed",
      "op://infra/database/password has no one-time password",
    ],
    [
      "infra/database/password?ssh-format=openssh",
      "provider_failed",
      "op://infra/database/password is not an SSH key",
    ],
  ])("%s: %s, %s", async (path, code, detail) => {
    expect(await read(`op://${path}`, password)).toEqual([{ code, detail }, "correct horse"]);
  });

  test("is remembered: what is missing costs no more requests", async () => {
    const remembering = reader({ ...shared, close: async () => {} });
    await remembering.read("op://infra/nothing/password");
    service.takeLog();
    await remembering.read("op://infra/nothing/password", "op://INFRA/nothing/password");
    expect(service.takeLog()).toEqual([]);
  });
});

describe("what the SDK says about the account or the service", () => {
  test("a rate limit is told as one, and then nobody asks", async () => {
    service.breakWith(status(429));
    const limited = reader({ ...shared, close: async () => {} });
    const busy = { code: "provider_busy", detail: "1Password's rate limit is reached" };
    expect(await limited.read(password)).toEqual([busy]);
    service.mend();
    service.takeLog();
    expect(await limited.read("op://infra/twin/password")).toEqual([busy]);
    expect(service.takeLog()).toEqual([]);
  });

  test("a rate limit at sign-in too", async () => {
    service.breakWith(status(429, () => true));
    expect(await connect().read(password)).toMatchObject([{ code: "provider_busy" }]);
  });

  test("a wrong token is told as one, and not tried again at once", async () => {
    const { read } = connect({ token: service.token({ srpX: "ab".repeat(32) }) });
    const refused = { code: "provider_denied", detail: "1Password does not accept the token" };
    expect(await read(password)).toEqual([refused]);
    service.takeLog();
    expect(await read("op://infra/twin/password")).toEqual([refused]);
    expect(service.takeLog()).toEqual([]);
  });

  test.each([
    [403, { code: "provider_denied", detail: "the service account may not read that" }, 1],
    [500, { code: "provider_failed", detail: "1Password failed" }, 1],
    [503, { code: "provider_failed", detail: "1Password is not available" }, 3],
  ])("status %i", async (code, failure, attempts) => {
    service.breakWith(status(code, (route) => route === "/api/v1/vaults"));
    expect(await read(password)).toEqual([failure]);
    expect(service.takeLog().filter((line) => line === "GET /api/v1/vaults")).toHaveLength(attempts);
  });

  test("a cut connection", async () => {
    service.breakWith((_, response) => {
      response.destroy();
      return true;
    });
    expect(await read(password)).toEqual([{ code: "provider_unreachable", detail: "1Password" }]);
  });

  test("an answer that leads elsewhere is not followed", async () => {
    service.breakWith((_, response) => {
      response.writeHead(307, { location: `${service.origin}/elsewhere` });
      response.end();
      return true;
    });
    expect(await read(password)).toMatchObject([{ code: "provider_unreachable" }]);
    expect(service.takeLog().filter((line) => line.includes("elsewhere"))).toEqual([]);
  });

  test("an answer that nobody understands", async () => {
    service.breakWith(status(200));
    expect(await read(password)).toEqual([
      { code: "provider_failed", detail: "1Password's answer is not understood" },
    ]);
  });
});

describe("the thread of the SDK", () => {
  test("may panic: this process lives, the request fails, and the next one gets a new thread", async () => {
    service.loseKeysets();
    const { read } = connect();
    expect(await read(password)).toEqual([
      { code: "provider_failed", detail: "the 1Password SDK ended unexpectedly" },
    ]);
    expect(logIns()).toBe(3);
    service.mend();
    expect(await read(password)).toEqual(["correct horse"]);
  });

  test("is given up when 1Password does not answer in time, and the next request gets a new one", async () => {
    const made = provider();
    onTestFinished(() => made.close?.());
    const reference = made.parse("infra/database/password", new Map());
    const hanging = new Promise<void>((resolve) => {
      service.breakWith(({ route }) => {
        if (route.includes("/auth")) return false;
        resolve();
        return true;
      });
    });
    const limit = new AbortController();
    const reading = made.read([reference], limit.signal, "acme");
    await hanging;
    limit.abort();
    expect(await reading).toMatchObject([{ code: "provider_timeout" }]);
    service.mend();
    expect(await reader({ ...made, close: async () => {} }).read(password)).toEqual(["correct horse"]);
  });
});
