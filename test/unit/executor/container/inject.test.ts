import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { injectVariables } from "../../../../executor/container/inject.ts";
import { Failure } from "../../../../shared/failure.ts";
import { Secret } from "../../../../shared/secret.ts";

const configuration = {
  ociVersion: "1.0.2",
  process: { args: ["sh"], env: ["PATH=/bin", "HOME=/"] },
  root: {},
};

const variable = (name: string, value: string | Uint8Array) => ({
  name,
  value: new Secret(Buffer.from(value)),
});

const inject = (
  variables: readonly ReturnType<typeof variable>[],
  from: typeof configuration = configuration,
) => JSON.parse(injectVariables(from, variables).toString()) as typeof configuration;

const withEnv = (env: string[]) => ({ ...configuration, process: { args: [], env } });

/** What the container gets for one injected value. */
const injected = (value: string | Uint8Array) => inject([variable("SECRET", value)]).process.env.at(-1);

describe("a configuration with secrets", () => {
  test("is the one without, and the variables after its own", () => {
    expect(inject([variable("A", "one"), variable("B", "two")])).toEqual({
      ...configuration,
      process: { ...configuration.process, env: ["PATH=/bin", "HOME=/", "A=one", "B=two"] },
    });
  });

  test("leaves the one without as it was", () => {
    const before = structuredClone(configuration);
    inject([variable("PATH", "/evil")]);
    expect(configuration).toEqual(before);
  });

  test.each([{ env: ["PATH=/bin"] }, { env: [] }])("without a secret is the same: $env", ({ env }) => {
    expect(inject([], withEnv(env))).toEqual(withEnv(env));
  });

  test("of nothing but a secret has that one", () => {
    expect(inject([variable("A", "one")], withEnv([])).process.env).toEqual(["A=one"]);
  });

  test("cannot be confused by what looks like one already", () => {
    const env = ['A="B=two"', "X=,", 'Y=],"env":['];
    const { process } = inject([variable("B", '","C=three')], withEnv(env));
    expect(process.env).toEqual([...env, 'B=","C=three']);
  });
});

describe("the last one of a name wins", () => {
  test("among the secrets", () => {
    const { env } = inject([variable("A", "one"), variable("B", "two"), variable("A", "three")]).process;
    expect(env.filter((each) => each.startsWith("A="))).toEqual(["A=three"]);
  });

  test("over the configuration's own", () => {
    expect(inject([variable("HOME", "/secret")]).process.env).toEqual(["PATH=/bin", "HOME=/secret"]);
  });

  test("but names that only begin alike are others", () => {
    expect(inject([variable("HOM", "x")]).process.env).toEqual(["PATH=/bin", "HOME=/", "HOM=x"]);
  });
});

describe("a value arrives byte for byte", () => {
  const control = Array.from({ length: 31 }, (_, index) => String.fromCharCode(index + 1)).join("");

  test.each([
    ["text", "guessme"],
    ["nothing", ""],
    ["every control byte but NUL", control],
    ["quotes and backslashes", '"\\"\\\\"'],
    ["what looks like an escape", "\\u0041\\n\\x00"],
    ["DEL and what follows it", "\x7f\x80\x9f"],
    ["several scripts and planes", "\u043a\u043b\u044e\u0447 \u9375 \u{1f511}\u{10ffff}"],
    ["JavaScript's line breaks", "\u2028\u2029"],
    ["a byte order mark", "\ufeffkey"],
    ["U+FFFD itself", "\ufffd"],
    ["equals signs", "a=b=c"],
    ["lines", "first\r\nsecond\n"],
  ])("%s", (_, value) => expect(injected(value)).toBe(`SECRET=${value}`));

  test("whatever text it is", () => {
    const part = fc.oneof(
      fc.string({ unit: "binary", maxLength: 4 }),
      fc.constantFrom('"', "\\", "\x01", "\x1f"),
    );
    const text = fc.array(part).map((parts) => parts.join("").replaceAll("\0", ""));
    fc.assert(
      fc.property(text, (value) => {
        expect(injected(value)).toBe(`SECRET=${value}`);
      }),
      { numRuns: 500 },
    );
  });

  test("up to the longest that Linux takes", () => {
    const longest = "x".repeat(128 * 1024 - 1 - "SECRET=".length);
    expect(injected(longest)).toBe(`SECRET=${longest}`);
  });
});

describe("a value that an environment cannot carry is refused, and not shown", () => {
  test.each([
    ["SECRET has a NUL byte", Buffer.from("sesame\0")],
    ["SECRET has a NUL byte", Buffer.from([0])],
    ["SECRET is not UTF-8", Buffer.from([0x73, 0xff])],
    ["SECRET is not UTF-8", Buffer.from("\u00e9", "latin1")],
    ["SECRET is not UTF-8", Buffer.from([0xc0, 0xaf])],
    ["SECRET is not UTF-8", Buffer.from([0xed, 0xa0, 0x80])],
    ["SECRET is not UTF-8", Buffer.from([0xf4, 0x90, 0x80, 0x80])],
    ["SECRET is not UTF-8", Buffer.from("\u{1f511}").subarray(0, 3)],
    ["SECRET is longer than 131071 bytes", Buffer.alloc(128 * 1024 - "SECRET=".length, "s")],
  ])("%s", (detail, value) => {
    let thrown: unknown;
    try {
      injected(value);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(Failure);
    expect(thrown).toMatchObject({ code: "secret_not_text", exitCode: 125, detail });
  });
});
