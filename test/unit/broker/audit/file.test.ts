/** The audit log in a file: one chain, one writer, many records to a sync, and what is left when something breaks. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { openChain } from "../../../../broker/audit/chain.ts";
import { fileSink } from "../../../../broker/audit/file.ts";
import { lock } from "../../../../broker/audit/lock.ts";
import { hashLine } from "../../../../broker/audit/record.ts";
import type { AuditSink } from "../../../../broker/audit/sink.ts";
import { findAuditKeys, readAuditHead } from "../../../../shared/audit-head.ts";
import {
  decision,
  keys,
  linesOf,
  newLog,
  openLog,
  recordsOf,
  requestsOf,
  writeLog,
} from "../../../support/audit-log.ts";

/** What every open file of Node.js has in common: where calls can be counted and a disk can fail. */
let anyFile: { datasync(): Promise<void>; write(): Promise<unknown> };

beforeAll(async () => {
  const file = await open("/dev/null");
  anyFile = Object.getPrototypeOf(file);
  await file.close();
});

afterEach(() => {
  vi.restoreAllMocks();
});

const refusal = (detail: string) => expect.objectContaining({ code: "audit_unavailable", detail });

const besides = (path: string) => readdirSync(dirname(path)).filter((name) => name !== basename(path));

describe("a chain", () => {
  test("has every line bound to the one before, and every write to a signature", async () => {
    const path = newLog();
    const heads = await writeLog(path, [["a"], ["b", "c"]]);
    expect(recordsOf(path).map(({ type }) => type)).toEqual([
      "chain",
      "decision",
      "checkpoint",
      "decision",
      "decision",
      "checkpoint",
    ]);
    const lines = linesOf(path);
    expect(recordsOf(path).map(({ prev }) => prev)).toEqual(["", ...lines.slice(0, -1).map(hashLine)]);
    expect(recordsOf(path).map(({ seq }) => seq)).toEqual([0, 1, 2, 3, 4, 5]);
    const { head } = recordsOf(path).at(-1) as { head: string };
    const hash = hashLine(lines[4] as string);
    expect(await readAuditHead(head, findAuditKeys(keys.jwks))).toMatchObject({ seq: 4, hash });
    expect(await readAuditHead(heads.at(-1) as string, findAuditKeys(keys.jwks))).toMatchObject({ hash });
  });

  test("goes on after a restart", async () => {
    const path = newLog();
    await writeLog(path, [["a"]]);
    await writeLog(path, [["b"]]);
    expect(recordsOf(path).map(({ seq, type }) => `${seq} ${type}`)).toEqual([
      "0 chain",
      "1 decision",
      "2 checkpoint",
      "3 decision",
      "4 checkpoint",
    ]);
  });

  test("goes on in a new file when one is full, and after a restart there", async () => {
    const path = newLog();
    await writeLog(path, [["a"], ["b"], ["c"]], 1);
    await writeLog(path, [["d"]], 1);
    const files = [
      ...besides(path)
        .sort()
        .map((name) => join(dirname(path), name)),
      path,
    ];
    expect(files.map((file) => basename(file))).toEqual([
      "audit.jsonl.000000000002",
      "audit.jsonl.000000000005",
      "audit.jsonl.000000000008",
      "audit.jsonl",
    ]);
    for (const file of files) {
      expect(recordsOf(file).map(({ type }) => type)).toEqual(["chain", "decision", "checkpoint"]);
    }
    expect(files.flatMap((file) => recordsOf(file)).map(({ seq }) => seq)).toEqual([...Array(12).keys()]);
  });
});

describe("a group commit", () => {
  test("takes all that waits in one write, one sync and one signature", async () => {
    const path = newLog();
    const chain = await openLog(path);
    await chain.append([decision("first")]);
    const syncs = vi.spyOn(anyFile, "datasync");
    const writes = vi.spyOn(anyFile, "write");
    const requests = Array.from({ length: 500 }, (_, index) => `request-${index}`);
    const heads = await Promise.all(requests.map((request) => chain.append([decision(request)])));
    await chain.close();
    // The first finds the log idle; the others wait for it together.
    expect(syncs).toHaveBeenCalledTimes(2);
    expect(writes).toHaveBeenCalledTimes(2);
    expect(new Set(heads).size).toBe(2);
    const written = recordsOf(path).flatMap((line) => (line.type === "decision" ? [line.request] : []));
    expect(written).toEqual(["first", ...requests]);
  });

  test("tells nobody before its sync is done", async () => {
    const path = newLog();
    const chain = await openLog(path);
    await chain.append([decision("first")]);
    const { promise, resolve } = Promise.withResolvers<void>();
    const synced = new Promise<void>((called) => {
      vi.spyOn(anyFile, "datasync").mockImplementationOnce(() => {
        called();
        return promise;
      });
    });
    let told = false;
    const appended = chain.append([decision("second")]).then(() => {
      told = true;
    });
    await synced;
    expect(linesOf(path)).toHaveLength(5);
    expect(told).toBe(false);
    resolve();
    await appended;
    await chain.close();
  });
});

describe("one writer", () => {
  test("is all that a log has", async () => {
    const path = newLog();
    const chain = await openLog(path);
    await expect(openLog(path)).rejects.toEqual(refusal("another process is writing it"));
    await chain.close();
    await writeLog(path, [["a"]]);
  });

  test("keeps it as long as it lives, and no longer", async () => {
    const path = newLog();
    const holder = spawn("flock", ["-x", path, "sh", "-c", "echo held; exec cat"], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await once(holder.stdout, "data");
    await expect(openLog(path)).rejects.toEqual(refusal("another process is writing it"));
    holder.stdin.end();
    await once(holder, "close");
    await writeLog(path, [["a"]]);
  });

  test("cannot be made sure of without the program flock, which is said", async () => {
    const file = await open("/dev/null");
    await expect(lock(file, "/nowhere")).rejects.toEqual(
      refusal("the program flock is missing; install util-linux"),
    );
    await file.close();
  });

  test("has a new file too, once it has begun one", async () => {
    const path = newLog();
    const chain = await openLog(path, 1);
    await chain.append([decision("a")]);
    await chain.append([decision("b")]);
    await expect(openLog(path)).rejects.toEqual(refusal("another process is writing it"));
    await chain.close();
  });
});

describe("after a crash", () => {
  test.each([
    ["half a line", (lines: string[]) => `${lines.slice(0, 3).join("\n")}\n${lines[3]?.slice(0, 20)}`, 20],
    ["a write without its checkpoint", (lines: string[]) => `${lines.slice(0, 5).join("\n")}\n`, undefined],
    [
      "zeros that the file system put there",
      (lines: string[]) => `${lines.slice(0, 3).join("\n")}\n${"\0".repeat(4096)}`,
      4096,
    ],
  ])("%s is moved aside and noted, and the chain goes on", async (_, tear, length) => {
    const path = newLog();
    await writeLog(path, [["a"], ["b", "c"]]);
    const lines = linesOf(path);
    const torn = tear(lines);
    writeFileSync(path, torn);
    await writeLog(path, [["d"]]);
    const rest = torn.slice(lines.slice(0, 3).join("\n").length + 1);
    const [aside] = besides(path);
    expect(readFileSync(join(dirname(path), aside as string), "utf8")).toBe(rest);
    expect(recordsOf(path).map(({ type }) => type)).toEqual([
      ...["chain", "decision", "checkpoint"],
      ...["recovered", "checkpoint"],
      ...["decision", "checkpoint"],
    ]);
    expect(recordsOf(path)[3]).toMatchObject({
      bytes: length ?? Buffer.byteLength(rest),
      sha256: hashLine(rest),
      aside,
    });
  });

  test("is found however long the last write was", async () => {
    const path = newLog();
    await writeLog(path, [["a"], Array.from({ length: 2000 }, (_, index) => `request-${index}`)]);
    appendFileSync(path, "{");
    await writeLog(path, [["b"]]);
    expect(recordsOf(path).map(({ seq }) => seq)).toEqual([...recordsOf(path).keys()]);
    expect(recordsOf(path)).toHaveLength(3 + 2001 + 2 + 2);
  });

  test("what no crash leaves behind is not touched", async () => {
    const path = newLog();
    await writeLog(path, [["a"], ["b"], ["c"]]);
    const changed = readFileSync(path, "utf8").replace('"request":"b"', '"request":"x"');
    writeFileSync(path, changed);
    await expect(openLog(path)).rejects.toEqual(
      refusal("it was changed; `claimcheck audit verify` says where"),
    );
    expect(readFileSync(path, "utf8")).toBe(changed);
    expect(besides(path)).toEqual([]);
  });

  test("a file that is none of this broker's logs is refused", async () => {
    const path = newLog();
    writeFileSync(path, "notes\n");
    await expect(openLog(path)).rejects.toEqual(refusal("this broker did not sign the log"));
    expect(readFileSync(path, "utf8")).toBe("notes\n");
  });
});

describe("a write that fails", () => {
  test.each(["datasync", "write"] as const)("in %s is final until a restart", async (call) => {
    const path = newLog();
    const chain = await openLog(path);
    await chain.append([decision("a")]);
    vi.spyOn(anyFile, call).mockRejectedValueOnce(new Error("EIO"));
    const both = await Promise.allSettled([chain.append([decision("b")]), chain.append([decision("c")])]);
    expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    await expect(chain.append([decision("d")])).rejects.toThrow("EIO");
    await chain.close();
    await writeLog(path, [["e"]]);
    const written = recordsOf(path).flatMap((line) => (line.type === "decision" ? [line.request] : []));
    // What was not acknowledged may be there; what was refused afterwards is not.
    expect(written).toEqual(call === "write" ? ["a", "e"] : ["a", "b", "e"]);
  });

  test.each([
    ["deleted", (path: string) => rmSync(path)],
    ["moved", (path: string) => renameSync(path, `${path}.old`)],
    [
      "replaced",
      (path: string) => {
        renameSync(path, `${path}.old`);
        writeFileSync(path, "");
      },
    ],
  ])("because the file was %s is one too", async (_, lose) => {
    const path = newLog();
    const chain = await openLog(path);
    await chain.append([decision("a")]);
    lose(path);
    const lost = refusal("the file was moved or deleted");
    await expect(chain.append([decision("b")])).rejects.toEqual(lost);
    await expect(chain.append([decision("c")])).rejects.toEqual(lost);
    await chain.close();
  });

  test("because the file was cut is found by whoever opens it next", async () => {
    const path = newLog();
    await writeLog(path, [["a"], ["b"]]);
    truncateSync(path, 100);
    await expect(openLog(path)).rejects.toEqual(refusal("this broker did not sign the log"));
  });

  test("is one for whatever is no file", async () => {
    await expect(openLog("/dev/full")).rejects.toEqual(refusal("it is not a regular file"));
  });
});

test("what was refused because the log took too long to open is not written when it has", async () => {
  const path = newLog();
  const sink = fileSink(path, { findKey: keys.findAuditKey });
  let lost = false;
  let opened = Promise.resolve();
  const slow: AuditSink = {
    ...sink,
    isLost: () => lost,
    async open() {
      await opened;
      return lost ? {} : sink.open();
    },
  };
  const chain = await openChain(slow, keys.auditKey, { timeLimit: 50 });
  const gate = Promise.withResolvers<void>();
  [lost, opened] = [true, gate.promise];
  await expect(chain.append([decision("refused")])).rejects.toMatchObject({ code: "audit_unavailable" });
  await expect(chain.append([decision("refused too")])).rejects.toMatchObject({ code: "audit_unavailable" });
  gate.resolve();
  await expect.poll(() => chain.append([decision("taken")]).catch(() => undefined)).toBeTypeOf("string");
  expect(requestsOf(recordsOf(path))).toEqual(["taken"]);
});
