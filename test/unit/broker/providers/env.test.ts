import { describe, expect, test } from "vitest";
import { envProvider } from "../../../../broker/providers/env.ts";
import { ClaimcheckError } from "../../../../shared/errors.ts";
import { Secret } from "../../../../shared/secret.ts";
import { refusalOf } from "../../../support/refusal.ts";

const provider = envProvider({ API_TOKEN: "guessme", EMPTY: "", KEY: "schlüssel\r\n", UNSET: undefined });
const parse = (name: string) => provider.parse(name, new Map());

async function read(...names: string[]) {
  const results = await provider.read(names.map(parse), new AbortController().signal, "acme");
  return results.map((result) =>
    result instanceof Secret ? Buffer.from(result.expose()).toString() : result.problem(),
  );
}

describe("env://", () => {
  test("reads variables in the order of the references", async () => {
    expect(await read("KEY", "API_TOKEN")).toEqual(["schlüssel\r\n", "guessme"]);
  });

  test("reads a variable that is set but empty as an empty secret", async () => {
    expect(await read("EMPTY")).toEqual([""]);
  });

  test("reads bytes that are not UTF-8 as they are, and says where nobody can tell them", async () => {
    const odd = envProvider({ ODD: Buffer.from([0x61, 0xff]), LOST: null });
    const read = await odd.read(
      [odd.parse("ODD", new Map()), odd.parse("LOST", new Map())],
      new AbortController().signal,
      "acme",
    );
    expect((read[0] as Secret).expose()).toEqual(Buffer.of(0x61, 0xff));
    expect(read[1]).toMatchObject({ code: "provider_failed", detail: expect.stringContaining("file://") });
  });

  test.each(["MISSING_NAME", "UNSET"])("says that %s is not set", async (name) => {
    const [problem] = await read(name);
    expect(problem).toMatchObject({
      code: "secret_not_found",
      detail: `env://${name} is not set`,
    });
  });

  test.each(["toString", "__proto__", "constructor"])(
    "finds no variable in what every object has: %s",
    async (name) => {
      expect(await read(name)).toMatchObject([{ code: "secret_not_found" }]);
    },
  );

  test("reports what is missing beside what is there", async () => {
    expect(await read("API_TOKEN", "MISSING")).toMatchObject(["guessme", { code: "secret_not_found" }]);
  });

  test.each(["A", "_", "_9", "API_TOKEN", "lower"])("takes %s for a name", (name) => {
    expect(parse(name)).toMatchObject({ scheme: "env", canonical: `env://${name}` });
  });

  test.each(["", "9A", "A B", "A-B", "A=B", "A/B", "Ä", "A\n", "A\0", "%41"])(
    "refuses %j as a name",
    async (name) => {
      const refusal = await refusalOf(() => parse(name));
      expect(refusal).toBeInstanceOf(ClaimcheckError);
      expect(refusal.code).toBe("invalid_uri");
    },
  );

  test("shows 3 characters of what has the shape of a token, and of what is no name", async () => {
    expect(parse("ghp_16C7e42F292c6912E7").shown).toBe("env://ghp…");
    expect((await refusalOf(() => parse("hunter2-and-more"))).detail).toBe(
      `env://hun…: a variable's name is letters, digits and "_"`,
    );
  });
});
