import { describe, expect, test } from "vitest";
import type { Provider, SecretReference } from "../../../../broker/providers/provider.ts";
import { createResolver } from "../../../../broker/resolve/resolver.ts";
import { ClaimcheckError } from "../../../../shared/errors.ts";
import { Secret } from "../../../../shared/secret.ts";
import { refusalOf } from "../../../support/refusal.ts";

const sizeLimit = 1024 * 1024;

/** A provider over a table of answers; it keeps what it handed out and how it was asked. */
function tableProvider(scheme: string, answers: Record<string, string | Uint8Array | Error>) {
  const handedOut: Secret[] = [];
  const asked: string[][] = [];
  const provider: Provider = {
    scheme,
    parameters: [],
    parse: (rest): SecretReference => ({ scheme, canonical: `${scheme}://${rest}`, shown: `${scheme}://…` }),
    async read(references) {
      asked.push(references.map(({ canonical }) => canonical));
      return references.map(({ canonical }) => {
        const answer = answers[canonical.slice(scheme.length + 3)];
        if (answer instanceof ClaimcheckError) return answer;
        if (answer === undefined) return new ClaimcheckError("secret_not_found");
        if (answer instanceof Error) throw answer;
        const secret = new Secret(Buffer.from(answer));
        handedOut.push(secret);
        return secret;
      });
    },
  };
  return { provider, handedOut, asked };
}

async function resolve(uris: readonly string[], ...providers: Provider[]): Promise<string[]> {
  const resolver = createResolver(providers);
  const values = await resolver.resolve(
    "acme",
    uris.map((uri) => resolver.parse("acme", uri)),
  );
  return values.map((value) => Buffer.from(value.expose()).toString("latin1"));
}

describe("resolving", () => {
  test("keeps the order of the references over several providers, and asks each once", async () => {
    const red = tableProvider("red", { one: "r1", two: "r2" });
    const blue = tableProvider("blue", { one: "b1" });
    expect(await resolve(["red://one", "blue://one", "red://two"], red.provider, blue.provider)).toEqual([
      "r1",
      "b1",
      "r2",
    ]);
    expect([red.asked, blue.asked]).toEqual([[["red://one", "red://two"]], [["blue://one"]]]);
  });

  test("gives a value byte for byte", async () => {
    const bytes = Uint8Array.from({ length: 512 * 1024 }, (_, index) => index % 251);
    const red = tableProvider("red", { binary: bytes });
    const [value] = await resolve(["red://binary"], red.provider);
    expect(Buffer.from(value as string, "latin1").equals(bytes)).toBe(true);
  });

  test("gives one reference that appears twice twice", async () => {
    const red = tableProvider("red", { one: "r1" });
    expect(await resolve(["red://one", "red://one"], red.provider)).toEqual(["r1", "r1"]);
  });
});

describe("resolving is all or nothing", () => {
  const answers = {
    good: "value",
    denied: new ClaimcheckError("provider_failed", { detail: "the vault is sealed" }),
    huge: new Uint8Array(sizeLimit + 1),
  };

  test("and every failure is reported, by its position", async () => {
    const red = tableProvider("red", answers);
    const uris = ["red://missing", "red://good", "red://denied", "red://huge"];
    const refusal = await refusalOf(() => resolve(uris, red.provider));
    expect(refusal.code).toBe("secrets_unavailable");
    expect(refusal.failures).toMatchObject([
      { index: 0, code: "secret_not_found" },
      { index: 2, code: "provider_failed", detail: "the vault is sealed" },
      { index: 3, code: "secret_too_large", detail: `the limit is ${sizeLimit} bytes` },
    ]);
  });

  test("and what was read all the same is wiped", async () => {
    const red = tableProvider("red", answers);
    await refusalOf(() => resolve(["red://good", "red://huge", "red://missing"], red.provider));
    expect(red.handedOut).toHaveLength(2);
    for (const secret of red.handedOut) expect(() => secret.expose()).toThrow("wiped");
  });

  test("also when a provider throws: its references fail as internal, without its words", async () => {
    const red = tableProvider("red", { good: "value", bad: new Error("password=sesame") });
    const blue = tableProvider("blue", { good: "value" });
    const uris = ["blue://good", "red://good", "red://bad"];
    const refusal = await refusalOf(() => resolve(uris, red.provider, blue.provider));
    expect(refusal.failures).toMatchObject([
      { index: 1, code: "internal", message: "Claimcheck failed unexpectedly." },
      { index: 2, code: "internal", message: "Claimcheck failed unexpectedly." },
    ]);
    expect(() => blue.handedOut[0]?.expose()).toThrow("wiped");
  });

  test("also when a provider answers less than it was asked", async () => {
    const short: Provider = { ...tableProvider("red", {}).provider, read: async () => [] };
    const refusal = await refusalOf(() => resolve(["red://one"], short));
    expect(refusal.failures).toMatchObject([{ index: 0, code: "internal" }]);
  });
});

describe("the size limit", () => {
  test("lets a value of exactly 1 MiB through", async () => {
    const red = tableProvider("red", { full: new Uint8Array(sizeLimit) });
    expect((await resolve(["red://full"], red.provider))[0]).toHaveLength(sizeLimit);
  });
});

describe("?trim=newline", () => {
  test.each([
    ["removes one final LF", "value\n", "value"],
    ["removes one final CRLF", "value\r\n", "value"],
    ["removes one of several", "value\n\n", "value\n"],
    ["leaves a lone CR", "value\r", "value\r"],
    ["leaves blanks", "value \t", "value \t"],
    ["leaves line breaks inside", "a\nb", "a\nb"],
    ["makes a lone LF empty", "\n", ""],
    ["makes a lone CRLF empty", "\r\n", ""],
    ["leaves nothing as nothing", "", ""],
  ])("%s: %j → %j", async (_, value, trimmed) => {
    const red = tableProvider("red", { it: value });
    expect(await resolve(["red://it?trim=newline"], red.provider)).toEqual([trimmed]);
  });

  test("is what it takes: nothing is trimmed unasked", async () => {
    const red = tableProvider("red", { it: "value\r\n" });
    expect(await resolve(["red://it"], red.provider)).toEqual(["value\r\n"]);
  });

  test("wipes what it trimmed from", async () => {
    const red = tableProvider("red", { it: "value\n" });
    await resolve(["red://it?trim=newline"], red.provider);
    expect(() => red.handedOut[0]?.expose()).toThrow("wiped");
  });
});

describe("a URI is refused", () => {
  const { parse } = createResolver([tableProvider("red", {}).provider, tableProvider("blue", {}).provider]);

  test("when no provider reads its scheme, with the schemes that there are", async () => {
    const refusal = await refusalOf(() => parse("acme", "green://x"));
    expect(refusal).toMatchObject({
      code: "unknown_scheme",
      detail: "green://; known here: red://, blue://",
    });
  });

  test.each([
    ["red://x?trim=spaces", 'the one value of "trim" is "newline"'],
    ["red://x?trim=", 'the one value of "trim" is "newline"'],
    ["red://x?trin=newline", 'unknown parameter "tri…"; known here: trim, ttl'],
    ["red://x?ttl=", '"ttl" is a time such as 0, 90s, 15m or 2h'],
    ["red://x?ttl=soon", '"ttl" is a time such as 0, 90s, 15m or 2h'],
    ["red://x?ttl=-1", '"ttl" is a time such as 0, 90s, 15m or 2h'],
    ["red://x?ttl=01", '"ttl" is a time such as 0, 90s, 15m or 2h'],
    ["hunter2", '"hun…" has no "://"; write scheme://…'],
  ])("%s: %s", async (uri, detail) => {
    expect(await refusalOf(() => parse("acme", uri))).toMatchObject({ code: "invalid_uri", detail });
  });
});

describe("?ttl=", () => {
  const { parse } = createResolver([tableProvider("red", {}).provider]);

  test.each([
    ["0", 0],
    ["90", 90_000],
    ["90s", 90_000],
    ["15m", 900_000],
    ["2h", 7_200_000],
    ["1d", 86_400_000],
  ])("%s is %i milliseconds, and no part of the canonical form", (ttl, maxAge) => {
    expect(parse("acme", `red://x?ttl=${ttl}`)).toMatchObject({ canonical: "red://x", maxAge });
  });

  test("bounds how old a value may be that is given out again", async () => {
    const red = tableProvider("red", { one: "r1" });
    const resolver = createResolver([red.provider], { cacheTtl: 60 });
    const ask = async (uri: string) => (await resolver.resolve("acme", [resolver.parse("acme", uri)]))[0];
    await ask("red://one");
    await ask("red://one");
    expect(red.asked).toHaveLength(1);
    await ask("red://one?ttl=0");
    expect(red.asked).toHaveLength(2);
  });
});

describe("a provider that takes all that follows ://", () => {
  test("gets what looks like parameters as part of its path", () => {
    const { parameters: _, ...verbatim } = tableProvider("all", {}).provider;
    const { parse } = createResolver([verbatim]);
    expect(parse("acme", "all://x?trim=newline&y")).toMatchObject({
      canonical: "all://x?trim=newline&y",
      trimNewline: false,
    });
  });
});
