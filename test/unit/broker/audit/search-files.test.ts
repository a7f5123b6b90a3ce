/** Looking into the files of a log, page by page, while it is written and rotated. */
import { appendFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { queryFiles } from "../../../../broker/audit/search-files.ts";
import { decision, linesOf, newLog, openLog, requestsOf, writeLog } from "../../../support/audit-log.ts";
import { refusalOf } from "../../../support/refusal.ts";

const of = (tenant: string) => ({ tenant });

/** The requests that all pages together tell of. */
async function readAll(path: string, limit: number, from?: string) {
  const requests: string[] = [];
  for (let after = from; ; ) {
    const { entries, next, isLast } = await queryFiles(path, of("acme"), { limit, after });
    requests.push(...requestsOf(entries));
    expect(entries.length).toBeLessThanOrEqual(limit);
    if (isLast) return { requests, next };
    after = next;
  }
}

const letters = ["a", "b", "c", "d", "e", "f", "g"];
const groups = letters.map((letter) => [letter]);

describe("the pages of a log", () => {
  test.each([1, 2, 3, 100])(
    "have all its decisions once, %i at a time, whatever files they are in",
    async (limit) => {
      for (const fileSize of [undefined, 1, 1000]) {
        const path = newLog();
        await writeLog(path, groups, fileSize);
        expect((await readAll(path, limit)).requests).toEqual(letters);
      }
    },
  );

  test("go on after the last one with what was written since, in the same file or in later ones", async () => {
    for (const fileSize of [undefined, 1]) {
      const path = newLog();
      await writeLog(path, [["a"]], fileSize);
      const { next } = await readAll(path, 1);
      await writeLog(path, [["b"], ["c"]], fileSize);
      expect((await readAll(path, 10, next)).requests).toEqual(["b", "c"]);
    }
  });

  test("go on with the oldest file there is when those before were taken away", async () => {
    const path = newLog();
    await writeLog(path, groups, 1);
    const { next } = await queryFiles(path, of("acme"), { limit: 1 });
    const rotated = readdirSync(dirname(path))
      .filter((name) => name !== basename(path))
      .sort();
    for (const name of rotated.slice(0, 3)) rmSync(join(dirname(path), name));
    expect((await readAll(path, 2)).requests).toEqual(letters.slice(3));
    expect((await readAll(path, 2, next)).requests).toEqual(letters.slice(3));
  });

  test("are bounded by what they read: one can be empty and not be the last", async () => {
    const path = newLog();
    const chain = await openLog(path);
    const foreign = { ...decision("x".repeat(1000)), tenant: "rival" };
    await chain.append([decision("a"), ...Array.from({ length: 20_000 }, () => foreign), decision("b")]);
    await chain.close();
    const first = await queryFiles(path, of("acme"), { limit: 10 });
    expect(first).toMatchObject({ entries: [{ request: "a" }], isLast: false });
    expect((await readAll(path, 10)).requests).toEqual(["a", "b"]);
  });

  test("are bounded in bytes", async () => {
    const path = newLog();
    await writeLog(path, [Array.from({ length: 20 }, (_, nth) => `${nth}-${"x".repeat(100_000)}`)]);
    expect((await queryFiles(path, of("acme"), { limit: 1000 })).entries).toHaveLength(10);
    expect((await readAll(path, 1000)).requests).toHaveLength(20);
  });

  test("show nothing that is not durable yet", async () => {
    const path = newLog();
    await writeLog(path, [["a"], ["b"]]);
    const size = linesOf(path).slice(0, 3).join("\n").length + 1;
    const { entries } = await queryFiles(path, of("acme"), { limit: 10 }, size);
    expect(requestsOf(entries)).toEqual(["a"]);
    appendFileSync(path, linesOf(path)[1]!.slice(0, 50));
    expect((await readAll(path, 10)).requests).toEqual(["a", "b"]);
  });

  test("of an empty log are one", async () => {
    const path = newLog();
    writeFileSync(path, "");
    expect(await readAll(path, 10)).toMatchObject({ requests: [] });
  });
});

test.each([
  ["is no text of ours", "x"],
  ["is no place", Buffer.from('["a",1]').toString("base64url")],
  ["is within a line", Buffer.from("[1,5]").toString("base64url")],
  ["is that of another line", Buffer.from("[2,1]").toString("base64url")],
])("a place that %s is refused", async (_, after) => {
  const path = newLog();
  await writeLog(path, groups);
  expect(await refusalOf(() => queryFiles(path, of("acme"), { limit: 1, after }))).toMatchObject({
    code: "invalid_request",
    detail: "wrong or missing: after",
  });
});

test("a log that was changed is not shown", async () => {
  const path = newLog();
  await writeLog(path, groups);
  writeFileSync(path, linesOf(path).toSpliced(3, 1).join("\n"));
  expect(await refusalOf(() => queryFiles(path, of("acme"), { limit: 10 }))).toMatchObject({
    code: "audit_unavailable",
  });
});
