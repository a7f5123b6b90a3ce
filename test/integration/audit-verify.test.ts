/** claimcheck audit verify, against somebody who can write to the log and has no key of the broker. */
import { copyFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { openChain } from "../../broker/audit/chain.ts";
import { fileSink } from "../../broker/audit/file.ts";
import { type AuditLine, auditVersion, decodeLine, encodeLine, hashLine } from "../../broker/audit/record.ts";
import { createKeys } from "../../broker/keys/keys.ts";
import { signAuditHead } from "../../shared/audit-head.ts";
import { Secret } from "../../shared/secret.ts";
import { decision, keys, linesOf, newLog, writeLog } from "../support/audit-log.ts";
import { claimcheck } from "../support/command.ts";

const others = await createKeys(new Secret(new Uint8Array(32).fill(1)));

/** Three writes: lines 1 to 3, 4 to 6, 7 and 8. */
const groups = [["a"], ["b", "c"], ["d"]];

async function verify(path: string, ...args: string[]) {
  const jwks = join(dirname(path), "jwks.json");
  writeFileSync(jwks, JSON.stringify(keys.jwks));
  const finished = await claimcheck(["audit", "verify", "--keys", jwks, ...args, path]);
  return { ...finished, stderr: finished.stderr.replaceAll(`${dirname(path)}/`, "") };
}

const put = (path: string, lines: readonly string[]) =>
  writeFileSync(path, lines.map((line) => `${line}\n`).join(""));

/** The same line with another content, as somebody would write it who knows the format. */
const edit = (line: string, change: object) =>
  encodeLine({ ...(decodeLine(Buffer.from(line)) as AuditLine), ...change } as AuditLine);

/** Makes every line follow the one before again; the signatures stay those that there were. */
function chainAgain(lines: readonly string[]): string[] {
  const made: string[] = [];
  for (const [seq, line] of lines.entries()) {
    const before = made.at(-1);
    made.push(edit(line, { seq, prev: before === undefined ? "" : hashLine(before) }));
  }
  return made;
}

async function signAgain(lines: readonly string[], key: typeof keys.auditKey): Promise<string[]> {
  let made = [...lines];
  for (const [index, line] of lines.entries()) {
    const record = JSON.parse(line) as AuditLine;
    if (record.type !== "checkpoint") continue;
    made = chainAgain(made);
    const { chain } = JSON.parse(made[0] as string) as { chain: string };
    const head = {
      chain,
      seq: index - 1,
      hash: hashLine(made[index - 1] as string),
      iat: Date.parse(record.time) / 1000,
      version: auditVersion,
    };
    made[index] = edit(made[index] as string, { head: await signAuditHead(head, key) });
  }
  return chainAgain(made);
}

const swap = (lines: string[], one: number, other: number) =>
  lines.map((line, index) => lines[index === one ? other : index === other ? one : index] ?? line);

const manipulations: [
  what: string,
  manipulate: (lines: string[]) => string[] | Promise<string[]>,
  said: RegExp,
][] = [
  [
    "a byte that breaks the form",
    (lines) => lines.with(3, `${lines[3]} `),
    /:4: seq 3: expected a line in the log's form$/,
  ],
  [
    "a byte that keeps the form",
    (lines) => lines.with(3, (lines[3] as string).replace('"b"', '"x"')),
    /:5: seq 4: expected prev \S{43}, the hash of the line before$/,
  ],
  [
    "a decision that became a denial",
    (lines) => lines.with(1, edit(lines[1] as string, { outcome: "denied" })),
    /:3: seq 2: expected prev /,
  ],
  ["a line left out", (lines) => lines.toSpliced(3, 1), /:4: seq 4: expected seq 3$/],
  [
    "a line left out, the rest numbered again",
    (lines) => chainAgain(lines.toSpliced(3, 1)),
    /:5: seq 4: expected the head of line 3$/,
  ],
  ["the first line left out", (lines) => lines.slice(1), /:1: seq 1: expected a chain line/],
  ["a write left out", (lines) => lines.toSpliced(3, 3), /:4: seq 6: expected seq 3$/],
  [
    "a write left out, the rest numbered again",
    (lines) => chainAgain(lines.toSpliced(3, 3)),
    /:5: seq 4: expected the head of line 3$/,
  ],
  ["two lines swapped", (lines) => swap(lines, 3, 4), /:4: seq 4: expected seq 3$/],
  [
    "two lines swapped, all numbered again",
    (lines) => chainAgain(swap(lines, 3, 4)),
    /:6: seq 5: expected the head of line 4$/,
  ],
  ["a line twice", (lines) => lines.toSpliced(4, 0, lines[3] as string), /:5: seq 3: expected seq 4$/],
  [
    "the tail written anew",
    (lines) => chainAgain(lines.with(6, edit(lines[6] as string, { request: "x" }))),
    /:8: seq 7: expected the head of line 6$/,
  ],
  [
    "all of it signed by another key",
    (lines) => signAgain(lines, others.auditKey),
    /:3: seq 2: expected a head that is signed by one of the broker's audit keys( \(it names the key \S{43}\))?$/,
  ],
  [
    "all of it signed by the key for handles",
    (lines) => signAgain(lines, keys.signingKey),
    /:3: seq 2: expected a head that is signed by one of the broker's audit keys( \(it names the key \S{43}\))?$/,
  ],
  [
    "a tail without its checkpoint",
    (lines) => lines.slice(0, -1),
    /:8: seq 7: expected a checkpoint, as at the end of every write$/,
  ],
];

describe("audit verify", () => {
  test("says that a whole log is whole", async () => {
    const path = newLog();
    await writeLog(path, groups);
    expect(await verify(path)).toEqual({ code: 0, stdout: `${path}: whole, 8 lines\n`, stderr: "" });
  });

  test.each(manipulations)("finds %s", async (_, manipulate, said) => {
    const path = newLog();
    await writeLog(path, groups);
    put(path, await manipulate(linesOf(path)));
    const { code, stdout, stderr } = await verify(path);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr.trimEnd()).toMatch(said);
    expect(stderr).toMatch(/^audit\.jsonl:\d/);
  });

  test("finds a last line without its end", async () => {
    const path = newLog();
    await writeLog(path, groups);
    writeFileSync(path, readFileSync(path).subarray(0, -1));
    expect((await verify(path)).stderr).toBe("audit.jsonl:8: expected a line feed at the end of the line\n");
  });

  test("the manipulations here are found by the signatures, and by nothing else that the test does wrong", async () => {
    const path = newLog();
    await writeLog(path, groups);
    put(path, await signAgain(linesOf(path), keys.auditKey));
    expect(await verify(path)).toMatchObject({ code: 0 });
  });

  test("follows a log through its files, and misses one", async () => {
    const path = newLog();
    await writeLog(path, groups, 1);
    const older = ["02", "06"].map((seq) => `${path}.0000000000${seq}`);
    expect(await verify(path, ...older)).toMatchObject({ code: 0 });
    const missing = await verify(path, older[0] as string);
    expect(missing).toMatchObject({ code: 1, stderr: "audit.jsonl:1: seq 7: expected seq 3\n" });
    const beginning = await verify(path, older[1] as string);
    expect(beginning.stderr).toMatch(/:1: seq 3: expected seq 0, the beginning of the chain\n$/);
  });
});

describe("what cannot be verified is no sign of tampering:", () => {
  test("a log without a line, but for one of which a head is known", async () => {
    const path = newLog();
    const [head] = await writeLog(path, groups);
    put(path, []);
    expect(await verify(path)).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/audit.jsonl is empty, so nothing was verified: .* \[usage\]\n$/),
    });
    expect(await verify(path, "--head", head!)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/:1: seq 0: expected a chain line/),
    });
  });

  test("without --keys, a log of another broker than this user's own", async () => {
    const path = newLog();
    await writeLog(path, groups);
    const env = { XDG_STATE_HOME: dirname(path) };
    const without = async () => (await claimcheck(["audit", "verify", path], { env })).stderr;
    expect(await without()).toMatch(/there was none yet .*; give --keys FILE.*\[usage\]\n$/);
    mkdirSync(join(dirname(path), "claimcheck"));
    writeFileSync(join(dirname(path), "claimcheck", "root-key"), Buffer.alloc(32, 9), { mode: 0o600 });
    const { kid } = keys.auditKey;
    expect(await without()).toContain(
      `is signed by the key ${kid}, and this user's embedded broker has another one`,
    );
  });
});

describe("audit verify --head", () => {
  test("finds a tail cut off at the end of a write", async () => {
    const path = newLog();
    const heads = await writeLog(path, groups);
    const head = heads.at(-1) as string;
    expect(await verify(path, "--head", head)).toMatchObject({ code: 0 });
    put(path, linesOf(path).slice(0, 6));
    expect(await verify(path)).toMatchObject({ code: 0 });
    expect(await verify(path, "--head", head)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^audit\.jsonl:7: seq 6: expected a line with the hash \S{43}, which the head of \S+Z is of\n$/,
      ),
    });
  });

  test("finds an old copy that the broker has written to since", async () => {
    const path = newLog();
    await writeLog(path, [["a"]]);
    copyFileSync(path, `${path}.copy`);
    const [head] = await writeLog(path, [["b"]]);
    renameSync(`${path}.copy`, path);
    await writeLog(path, [["c"], ["d"]]);
    expect(await verify(path)).toMatchObject({ code: 0 });
    const found = await verify(path, "--head", head as string);
    expect(found).toMatchObject({ code: 1 });
    expect(found.stderr).toMatch(
      /^audit\.jsonl:8: seq 7: expected a line with the hash \S{43}, which the head of \S+Z is of\n$/,
    );
  });

  test("finds another log of the same broker in its place", async () => {
    const [path, other] = [newLog(), newLog()];
    const [head] = await writeLog(path, [["a"]]);
    await writeLog(other, [["a"]]);
    const { code, stderr } = await verify(other, "--head", head as string);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^audit\.jsonl:1: seq 0: expected chain \S{36}, which the head is of\n$/);
  });

  test("believes no head that somebody else signed", async () => {
    const path = newLog();
    await writeLog(path, groups);
    const other = newLog();
    const chain = await openChain(fileSink(other, { findKey: others.findAuditKey }), others.auditKey);
    const head = await chain.append([decision("a")]);
    await chain.close();
    const { code, stderr } = await verify(path, "--head", head);
    expect(code).toBe(125);
    expect(stderr).toMatch(/a head that one of the broker's keys signed \[usage\]\n$/);
  });
});

test("a file or a key set that cannot be read is a mistake of use", async () => {
  const path = newLog();
  expect(await verify(path)).toMatchObject({ code: 125, stderr: expect.stringMatching(/ENOENT.*\[usage\]/) });
  await writeLog(path, groups);
  const none = await claimcheck(["audit", "verify", "--keys", path, path]);
  expect(none).toMatchObject({
    code: 125,
    stderr: expect.stringContaining(`${basename(path)} is not a broker's`),
  });
});
