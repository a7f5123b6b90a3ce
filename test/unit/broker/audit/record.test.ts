/** The form of an audit line: closed, and one spelling for each. */
import { describe, expect, test } from "vitest";
import { type AuditLine, decodeLine, encodeLine, hashLine } from "../../../../broker/audit/record.ts";

const record: AuditLine = {
  seq: 7,
  prev: hashLine("before"),
  time: "2026-01-02T03:04:05.678Z",
  type: "decision",
  action: "redeem",
  outcome: "denied",
  code: "no_rule",
  tenant: "acme",
  uri: "env://A\u2028\u00e9",
  request: "r",
  masked: false,
};

const text = `{"seq":7,"prev":"${hashLine("before")}","time":"2026-01-02T03:04:05.678Z","type":"decision","action":"redeem","outcome":"denied","code":"no_rule","tenant":"acme","uri":"env://A\u2028\u00e9","request":"r","masked":false}`;

describe("a line", () => {
  test("has its fields in the schema's order, whatever order they were given in", () => {
    expect(encodeLine(record)).toBe(text);
    expect(encodeLine(Object.fromEntries(Object.entries(record).reverse()) as AuditLine)).toBe(text);
    expect(decodeLine(Buffer.from(text))).toEqual(record);
  });

  test("leaves out what the schema does not name", () => {
    expect(encodeLine({ ...record, value: "guessme" } as AuditLine)).toBe(text);
  });

  test.each([
    ["a field more", text.replace('"request"', '"value":"guessme","request"')],
    ["a field twice", text.replace('"request"', '"tenant":"acme","request"')],
    ["another order", text.replace('"code":"no_rule","tenant":"acme"', '"tenant":"acme","code":"no_rule"')],
    ["white space", text.replace(",", ", ")],
    ["an escape that is not needed", text.replace("\u00e9", "\\u00e9")],
    ["an unknown outcome", text.replace("denied", "maybe")],
    ["a number in another form", text.replace('"seq":7', '"seq":7.0')],
    ["no end", text.slice(0, -1)],
    ["a byte order mark", `\ufeff${text}`],
  ])("with %s is none", (_, changed) => {
    expect(changed).not.toBe(text);
    expect(decodeLine(Buffer.from(changed))).toBeUndefined();
  });

  test("with a byte that is not UTF-8 is none", () => {
    const bytes = Buffer.from(text);
    bytes[bytes.indexOf("acme")] = 0xff;
    expect(decodeLine(bytes)).toBeUndefined();
  });
});
