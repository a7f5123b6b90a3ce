/** What broker/audit/sink.ts promises, of every sink there is. */
import { expect, test } from "vitest";
import { openChain } from "../../broker/audit/chain.ts";
import type { AuditSink } from "../../broker/audit/sink.ts";
import { type ChainPart, verifyChain } from "../../broker/audit/verify.ts";
import { readAuditHead } from "../../shared/audit-head.ts";
import { decision, keys, requestsOf } from "./audit-log.ts";
import { refusalOf } from "./refusal.ts";

export interface SinkSubject {
  /** A place for a chain, empty. */
  create(): Promise<SinkPlace>;
}

export interface SinkPlace {
  /** Each time as another process would: they have the place alone in common. */
  sink(): AuditSink;
  /** How the chain is read by `audit verify`. */
  part(): ChainPart;
}

const everything = { limit: 1000 };

/** Without those that a file begins with. */
async function linesOf(place: SinkPlace): Promise<{ type: string; request?: string }[]> {
  const lines = [];
  for await (const bytes of place.part().lines()) lines.push(JSON.parse(String(bytes)));
  return lines.filter(({ type }, nth) => nth === 0 || type !== "chain");
}

async function expectWhole(place: SinkPlace): Promise<void> {
  expect(await verifyChain([place.part()], keys.findAuditKey)).not.toHaveProperty("broken");
}

export function describeSink({ create }: SinkSubject): void {
  const open = async (place: SinkPlace) => openChain(place.sink(), keys.auditKey);

  async function write(place: SinkPlace, ...groups: (readonly string[])[]): Promise<string[]> {
    const chain = await open(place);
    const heads: string[] = [];
    for (const group of groups) heads.push(await chain.append(group.map(decision)));
    await chain.close();
    return heads;
  }

  test("a chain is what was written, and whole", async () => {
    const place = await create();
    const heads = await write(place, ["a"], ["b", "c"]);
    expect((await linesOf(place)).map(({ type }) => type)).toEqual([
      "chain",
      "decision",
      "checkpoint",
      "decision",
      "decision",
      "checkpoint",
    ]);
    const [first, last] = await Promise.all(heads.map((head) => readAuditHead(head, keys.findAuditKey)));
    const verdict = await verifyChain([place.part()], keys.findAuditKey, [first!, last!]);
    expect(verdict).not.toHaveProperty("broken");
  });

  test("a chain goes on after a restart", async () => {
    const place = await create();
    await write(place, ["a"]);
    await write(place, ["b"]);
    expect((await linesOf(place)).map(({ type }) => type)).toEqual([
      "chain",
      "decision",
      "checkpoint",
      "decision",
      "checkpoint",
    ]);
    await expectWhole(place);
  });

  test("a thousand at once share writes, and stand there in their order", async () => {
    const place = await create();
    const chain = await open(place);
    const requests = Array.from({ length: 1000 }, (_, nth) => `request-${nth}`);
    const heads = await Promise.all(requests.map((request) => chain.append([decision(request)])));
    await chain.close();
    expect(new Set(heads).size).toBe(2);
    expect((await linesOf(place)).flatMap(({ request }) => request ?? [])).toEqual(requests);
    await expectWhole(place);
  });

  test("a second writer is refused, and has the place once the first has closed", async () => {
    const place = await create();
    const chain = await open(place);
    expect(await refusalOf(() => open(place))).toMatchObject({
      code: "audit_unavailable",
      detail: "another process is writing it",
    });
    await chain.append([decision("a")]);
    await chain.close();
    await write(place, ["b"]);
    await expectWhole(place);
  });

  test("whatever a token or a URI can hold is written as it is", async () => {
    const place = await create();
    const odd = `\0 \ud800 \u2028 \\ " \n {} , ${"é".repeat(3000)}`;
    const chain = await open(place);
    const record = { ...decision("a"), tenant: odd, principal: odd, uri: odd };
    await chain.append([record]);
    const { entries } = await chain.query({ tenant: odd, principal: odd, uris: [odd] }, everything);
    expect(entries).toHaveLength(1);
    expect(entries[0]).toMatchObject({ tenant: odd, principal: odd, uri: odd });
    await chain.close();
    await expectWhole(place);
  });

  test("pages have everything that fits, once, in its order", async () => {
    const place = await create();
    const chain = await open(place);
    const at = (tenant: string, principal: string, uri: string, request: string) =>
      chain.append([{ ...decision(request), tenant, principal, uri }]);
    for (let nth = 0; nth < 6; nth++) {
      await at("acme", nth % 2 ? "ci" : "job", `env://${nth % 3}`, `acme-${nth}`);
      await at("rival", "ci", "env://0", `rival-${nth}`);
    }
    const all = await chain.query({}, everything);
    expect(all.entries).toHaveLength(12);
    const time = all.entries[5]?.time;
    const filters: [object, string[]][] = [
      [{ tenant: "acme" }, ["acme-0", "acme-1", "acme-2", "acme-3", "acme-4", "acme-5"]],
      [{ tenant: "acme", principal: "ci" }, ["acme-1", "acme-3", "acme-5"]],
      [{ tenant: "acme", uris: ["env://0", "env://9"] }, ["acme-0", "acme-3"]],
      [{ tenant: "acme", principal: "ci", uris: ["env://0"] }, ["acme-3"]],
      [{ tenant: "acm" }, []],
      [{ since: time }, requestsOf(all.entries.filter((each) => each.time >= time!))],
      [{ until: time }, requestsOf(all.entries.filter((each) => each.time < time!))],
    ];
    for (const [filter, expected] of filters) {
      for (const limit of [1, 2, 1000]) {
        const found: string[] = [];
        for (let after: string | undefined, more = true; more; ) {
          const page = await chain.query(filter, { limit, after });
          found.push(...requestsOf(page.entries));
          [after, more] = [page.next, !page.isLast];
        }
        expect(found).toEqual(expected);
      }
    }
    await chain.close();
  });

  test("the place after the last page is where what comes later is found", async () => {
    const place = await create();
    const chain = await open(place);
    await chain.append([decision("a")]);
    const { next } = await chain.query({ tenant: "acme" }, everything);
    await chain.append([decision("b")]);
    const { entries } = await chain.query({ tenant: "acme" }, { ...everything, after: next });
    expect(requestsOf(entries)).toEqual(["b"]);
    await chain.close();
  });

  test("a place that nobody gave out is refused", async () => {
    const place = await create();
    const chain = await open(place);
    await chain.append([decision("a")]);
    expect(await refusalOf(() => chain.query({}, { limit: 1, after: "x" }))).toMatchObject({
      code: "invalid_request",
    });
    await chain.close();
  });
}
