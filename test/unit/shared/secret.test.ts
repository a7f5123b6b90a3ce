import { format, inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { Secret } from "../../../shared/secret.ts";

const plaintext = "hunter2-correct-horse";
const secret = () => new Secret(Buffer.from(plaintext));

describe("a secret prints as [secret]", () => {
  const ways: Record<string, (value: Secret) => string> = {
    String: (value) => String(value),
    "toString()": (value: Secret) => value.toString(),
    "a template literal": (value) => `${value}`,
    "+=": (value) => {
      let text = "";
      text += value;
      return text;
    },
    "JSON.stringify": (value) => JSON.parse(JSON.stringify(value)),
    "JSON.stringify, nested": (value) => JSON.parse(JSON.stringify({ deep: [value] })).deep[0],
    "util.inspect": (value) => inspect(value),
    "util.inspect showing what is hidden": (value) => inspect(value, { showHidden: true, depth: null }),
    "Array.join": (value) => [value].join(),
    "console's %s": (value) => format("%s", value),
    "console's %o": (value) => format("%o", value),
    "console's %O": (value) => format("%O", value),
    "console's %j": (value) => JSON.parse(format("%j", value)),
    "console without a format": (value) => format(value),
    "an error's message": (value) => new Error(`${value}`).message,
  };
  test.each(Object.entries(ways))("under %s", (_, print) => expect(print(secret())).toBe("[secret]"));
});

describe("what holds a secret does not show it", () => {
  const holders: Record<string, (value: Secret) => unknown> = {
    "an object": (value) => ({ deep: { deeper: value } }),
    "a Map": (value) => new Map([["key", value]]),
    "a Set": (value) => new Set([value]),
    "a class": (value) =>
      new (class Holder {
        value = value;
      })(),
    "an error's cause": (value) => new Error("no", { cause: value }),
    "an error's property": (value) => Object.assign(new Error("no"), { value }),
  };
  const bytes = [...Buffer.from(plaintext)];
  const renderings = [
    plaintext,
    bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(" "),
    bytes.join(", "),
  ];

  test.each(Object.entries(holders))("%s, however it is printed", (_, hold) => {
    const held = hold(secret());
    const options = [
      { showHidden: true, depth: null },
      { customInspect: false, showHidden: true, depth: null },
    ];
    const printed = [JSON.stringify(held), String(held), ...options.map((option) => inspect(held, option))];
    for (const text of printed) for (const rendering of renderings) expect(text).not.toContain(rendering);
  });

  test("nor does a structured clone, as a worker or IPC would get it", () => {
    expect(inspect(structuredClone({ value: secret() }), { showHidden: true })).toBe("{ value: {} }");
  });
});

describe("the bytes of a secret", () => {
  test("are those that it was made of, not a copy", () => {
    const bytes = Buffer.from(plaintext);
    expect(new Secret(bytes).expose()).toBe(bytes);
  });

  test("are zeros after wipe, also for whoever had them exposed", () => {
    const value = secret();
    const exposed = value.expose();
    value.wipe();
    expect(Buffer.from(exposed)).toEqual(Buffer.alloc(plaintext.length));
  });

  test("cannot be had after wipe, not even as nothing", () => {
    const value = secret();
    value.wipe();
    value.wipe();
    expect(() => value.expose()).toThrow("the secret was used after it was wiped");
  });

  test("can be none at all: an empty secret is a secret", () => {
    expect(new Secret(new Uint8Array(0)).expose()).toHaveLength(0);
  });
});
