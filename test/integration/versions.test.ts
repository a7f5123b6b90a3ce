/** What earlier versions wrote, and what later ones will: it is read, or refused with a code, and never called tampered with. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as jose from "jose";
import { afterEach, expect, test, vi } from "vitest";
import { AuditLine, auditVersion, hashLine } from "../../broker/audit/record.ts";
import { verifyHandle } from "../../shared/handle.ts";
import { keys, linesOf, newLog, openLog, writeLog } from "../support/audit-log.ts";
import { claimcheck } from "../support/command.ts";
import { makeFolder } from "../support/served.ts";

const vectors = new URL("../vectors/versions/1095231/", import.meta.url);
const vector = (name: string) => readFileSync(new URL(name, vectors), "utf8");

afterEach(() => {
  vi.useRealTimers();
});

const verify = async (lines: readonly string[], jwks: object | string = keys.jwks) => {
  const folder = makeFolder({
    "audit.jsonl": lines.map((line) => `${line}\n`).join(""),
    "jwks.json": typeof jwks === "string" ? jwks : JSON.stringify(jwks),
  });
  const log = join(folder, "audit.jsonl");
  const finished = await claimcheck(["audit", "verify", "--keys", join(folder, "jwks.json"), log]);
  return { ...finished, stderr: finished.stderr.replaceAll(`${folder}/`, "") };
};

/** As a later version would begin what is in its own form. */
const newerLine = (last: string, change: object = {}) => {
  const { seq, time } = JSON.parse(last);
  const version = auditVersion + 1;
  return JSON.stringify({
    seq: seq + 1,
    prev: hashLine(last),
    time,
    type: "chain",
    version,
    more: 1,
    ...change,
  });
};

/** Of which an older reader knows where it stands, and nothing else. */
const lineBehind = (last: string, change: object = {}) => {
  const { seq, time } = JSON.parse(last);
  return JSON.stringify({ seq: seq + 1, prev: hashLine(last), time, type: "new", new: "form", ...change });
};

test("a log of 1095231 is verified", async () => {
  const { code, stdout } = await verify(vector("audit.jsonl").trim().split("\n"), vector("jwks"));
  expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringMatching(/: whole, 9 lines\n$/) });
});

test("a handle of 1095231 is refused by name while it lives", async () => {
  const handle = vector("handle").trim();
  vi.useFakeTimers({ now: ((jose.decodeJwt(handle).iat as number) + 1) * 1000, toFake: ["Date"] });
  const find = jose.createLocalJWKSet(JSON.parse(vector("jwks")));
  const issuer = jose.decodeJwt(handle).iss as string;
  await expect(verifyHandle(handle, find, issuer)).rejects.toMatchObject({ code: "handle_outdated" });
});

test("a log that goes on in a newer form is not called tampered with", async () => {
  const path = newLog();
  await writeLog(path, [["a"], ["b"]]);
  const lines = linesOf(path);
  const newer = newerLine(lines.at(-1) as string);
  const { code, stdout, stderr } = await verify([...lines, newer, lineBehind(newer)]);
  expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
  expect(stderr).toMatch(
    /^claimcheck: A newer version [^\n]*audit\.jsonl:6: version 3 [^\n]*\[audit_newer\]\n$/,
  );
});

test.each<[string, (lines: string[]) => string[]]>([
  [
    "before it a line was changed",
    (lines) => [...lines.with(1, lines[1]!.replace('"a"', '"x"')), newerLine(lines.at(-1)!)],
  ],
  [
    "its chain line follows nothing",
    (lines) => [...lines, newerLine(lines.at(-1)!, { prev: hashLine("x") })],
  ],
  ["lines before it were cut", (lines) => [...lines.slice(0, 3), newerLine(lines.at(-1)!)]],
  [
    "a line behind it follows nothing",
    (lines) => {
      const newer = newerLine(lines.at(-1)!);
      return [...lines, newer, lineBehind(newer, { prev: hashLine("x") })];
    },
  ],
  [
    "only its version was changed",
    ([first = "", ...lines]) => [first.replace(`"version":${auditVersion}`, '"version":9'), ...lines],
  ],
])("a log in a newer form is called tampered with where %s", async (_, change) => {
  const path = newLog();
  await writeLog(path, [["a"], ["b"]]);
  const { code, stderr } = await verify(change(linesOf(path)));
  expect(code).toBe(1);
  expect(stderr).toMatch(/: expected /);
});

test("a broker does not write behind a newer one, and says why", async () => {
  const path = newLog();
  writeFileSync(
    path,
    `${newerLine(JSON.stringify({ seq: 6, time: "2026-11-28T07:13:48.254Z" }))}\n{"new":"form"}\n`,
  );
  const before = readFileSync(path, "utf8");
  await expect(openLog(path)).rejects.toMatchObject({
    code: "audit_unavailable",
    detail: expect.stringContaining("a newer version of Claimcheck wrote the log"),
  });
  expect(readFileSync(path, "utf8")).toBe(before);
});

test("the form of version 2 stays: to add to it is to write a newer version", () => {
  const form = AuditLine.def.options.map((kind) =>
    [kind.shape.type.def.values[0], ...Object.keys(kind.shape).slice(4)].join(" "),
  );
  expect({ version: auditVersion, form }).toEqual({
    version: 2,
    form: [
      "chain version chain",
      "decision action outcome code tenant principal uri jti digest rule run subject request redemption masked manifest",
      "summary code tenant count since",
      "recovered bytes sha256 aside",
      "accepted head",
      "checkpoint head",
    ],
  });
});
