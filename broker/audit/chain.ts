/**
 * Group commit: what is appended while a write is under way waits, and then shares one write, one sync and one signed
 * checkpoint. Nobody is told that a line is written before the checkpoint after it is durable.
 */
import { randomUUID } from "node:crypto";
import { signAuditHead } from "../../shared/audit-head.ts";
import type { SigningKey } from "../../shared/handle.ts";
import type { AuditFilter, AuditPage, PageRequest } from "./query.ts";
import { type AuditLine, encodeLine, hashLine, type Unplaced } from "./record.ts";
import type { AuditSink, ChainEnd } from "./sink.ts";

export type AuditChain = Awaited<ReturnType<typeof openChain>>;

interface Waiting {
  readonly lines: readonly Unplaced[];
  readonly resolve: (head: string) => void;
  readonly reject: (cause: unknown) => void;
}

/** @throws what the sink's `open` throws. */
export async function openChain(sink: AuditSink, key: SigningKey) {
  let waiting: Waiting[] = [];
  let working: Promise<void> | undefined;
  let end: ChainEnd | undefined;
  let isOpen = false;

  async function open(): Promise<void> {
    const opened = await sink.open();
    end = opened.end;
    isOpen = true;
    if (opened.recovered) await commit([{ type: "recovered", ...opened.recovered }]);
  }

  /** @returns the head that the lines are part of. */
  async function commit(lines: readonly Unplaced[]): Promise<string> {
    const begins = end === undefined || sink.isFull();
    const chain = end?.chain ?? randomUUID();
    const now = Date.now();
    const time = new Date(now).toISOString();
    let last: ChainEnd = end ?? { chain, seq: -1, hash: "" };
    let text = "";
    const add = (line: Unplaced) => {
      const encoded = encodeLine({ seq: last.seq + 1, prev: last.hash, time, ...line } as AuditLine);
      last = { chain, seq: last.seq + 1, hash: hashLine(encoded) };
      text += `${encoded}\n`;
    };
    if (begins) add({ type: "chain", version: 1, chain });
    for (const line of lines) add(line);
    const signed = await signAuditHead({ ...last, iat: now / 1000 }, key);
    add({ type: "checkpoint", head: signed });
    try {
      await (begins ? sink.begin(text) : sink.append(text));
    } catch (cause) {
      isOpen = false;
      throw cause;
    }
    end = last;
    return signed;
  }

  async function work(): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      try {
        if (!isOpen || sink.isLost()) await open();
        const signed = await commit(batch.flatMap(({ lines }) => lines));
        for (const { resolve } of batch) resolve(signed);
      } catch (cause) {
        for (const { reject } of batch) reject(cause);
      }
    }
    working = undefined;
  }

  await open();

  const append = (lines: readonly Unplaced[]): Promise<string> =>
    new Promise((resolve, reject) => {
      waiting.push({ lines, resolve, reject });
      working ??= work();
    });

  return {
    /**
     * @returns the head that the lines are part of, once it is durable.
     * @throws what the sink threw: whether the lines are there is not known then.
     */
    append,

    /** After a failure: opens the sink again, and puts a checkpoint there. @throws as `append`. */
    async recover(): Promise<void> {
      if (!isOpen) await append([]);
    },

    /** All of it, signed now; missing where there is none. */
    head: async (): Promise<string | undefined> =>
      end && signAuditHead({ ...end, iat: Date.now() / 1000 }, key),

    query: (filter: AuditFilter, page: PageRequest): Promise<AuditPage> => sink.query(filter, page),

    async close(): Promise<void> {
      await working;
      await sink.close();
    },
  };
}
