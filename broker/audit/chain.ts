/**
 * Group commit: what is appended while a write is under way waits, and then shares one write, one sync and one signed
 * checkpoint. Nobody is told that a line is written before the checkpoint after it is durable.
 *
 * The chain knows how far it has come and takes no sink for its own that does not have all of that: in this process by
 * the last line that it wrote, after a restart by a head that was kept elsewhere (heads.ts).
 */
import { randomUUID } from "node:crypto";
import { setTimeout as elapse } from "node:timers/promises";
import { signAuditHead } from "../../shared/audit-head.ts";
import { ClaimcheckError } from "../../shared/errors.ts";
import type { SigningKey } from "../../shared/statement.ts";
import type { HeadMemory, KeptHead } from "./heads.ts";
import type { AuditFilter, AuditPage, PageRequest } from "./query.ts";
import { type AuditLine, auditVersion, encodeLine, hashLine, type Unplaced } from "./record.ts";
import type { AuditSink, ChainEnd, OpenedChain } from "./sink.ts";

export type AuditChain = Awaited<ReturnType<typeof openChain>>;

/** How long a write may take, opening the sink included, in milliseconds. */
const defaultTimeLimit = 5_000;

/** For opening it when the broker starts, and for one question, in milliseconds. */
const startLimit = 30_000;
const queryLimit = 30_000;

interface ChainSettings {
  /** Without one, a restart knows nothing of what was there before it. */
  readonly memory?: HeadMemory | undefined;
  /** Whether a log that lacks what is remembered is taken all the same, and a line says so. */
  readonly acceptsLoss?: boolean;
  readonly timeLimit?: number;
}

interface Waiting {
  /** None for somebody who only asks whether the sink is in order. */
  readonly lines: readonly Unplaced[] | undefined;
  readonly resolve: (head: string) => void;
  readonly reject: (cause: unknown) => void;
}

/** @throws what the sink's `open` throws. */
export async function openChain(
  sink: AuditSink,
  key: SigningKey,
  { memory, acceptsLoss = false, timeLimit = defaultTimeLimit }: ChainSettings = {},
) {
  let waiting: Waiting[] = [];
  let working: Promise<void> | undefined;
  let isStuck = false;
  let isOpen = false;
  let recalled = memory === undefined;
  let accepted: KeptHead["head"] | undefined;
  /** What was cut off when the sink was opened, until the log says so. */
  let recovered: OpenedChain["recovered"];
  /** The last line that is durable. */
  let end: ChainEnd | undefined;
  /** Where the last write ends, while nobody knows whether it is there. */
  let undecided: ChainEnd | undefined;

  async function open(): Promise<void> {
    isOpen = false;
    const opened = await sink.open();
    if (end) expectOwn(opened.end);
    else if (undecided && opened.end && !isSame(opened.end, undecided)) throw lost(undecided, opened.end);
    end = opened.end ?? end;
    undecided = undefined;
    recovered = opened.recovered ?? recovered;
    const missing = recalled ? undefined : await findMissing();
    recalled = true;
    isOpen = true;
    const notes: Unplaced[] = [];
    if (recovered) notes.push({ type: "recovered", ...recovered });
    if (missing) notes.push({ type: "accepted", head: missing });
    if (notes.length > 0) await commit(notes);
    recovered = undefined;
  }

  /** @returns the head that the log lacks, where that is accepted. */
  async function findMissing(): Promise<string | undefined> {
    const kept = await memory?.recall(end?.chain);
    if (!kept || reaches(end, kept.head)) return undefined;
    if (!acceptsLoss) throw lost(kept.head, end);
    accepted = kept.head;
    return kept.text;
  }

  /** @throws {ClaimcheckError} `audit_unavailable` where the log is not as this process left it. */
  function expectOwn(found: ChainEnd | undefined): void {
    if (isSame(found, end) || (undecided && isSame(found, undecided))) return;
    throw lost(end as ChainEnd, found);
  }

  /** @returns a head of what has the lines, to be given away. */
  async function commit(lines: readonly Unplaced[]): Promise<string> {
    const begins = end?.version !== auditVersion || sink.isFull();
    const chain = end?.chain ?? randomUUID();
    const now = Date.now();
    const time = new Date(now).toISOString();
    const version = auditVersion;
    let last: ChainEnd = end ?? { chain, seq: -1, hash: "", version };
    let text = "";
    const add = (line: Unplaced) => {
      const encoded = encodeLine({ seq: last.seq + 1, prev: last.hash, time, ...line } as AuditLine);
      last = { chain, seq: last.seq + 1, hash: hashLine(encoded), version };
      text += `${encoded}\n`;
    };
    if (begins) add({ type: "chain", version, chain });
    for (const line of lines) add(line);
    const [signed, given] = await Promise.all([
      signAuditHead({ ...last, iat: now / 1000 }, key),
      signAuditHead({ chain, hash: last.hash, iat: instant() }, key),
    ]);
    add({ type: "checkpoint", head: signed });
    undecided = last;
    try {
      await (begins ? sink.begin(text) : sink.append(text));
    } catch (cause) {
      isOpen = false;
      throw cause;
    }
    end = last;
    undecided = undefined;
    memory?.keep({ text: signed, chain });
    return given;
  }

  async function work(): Promise<void> {
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      const timer = setTimeout(() => giveUp(batch), timeLimit);
      try {
        const wasOpen = isOpen;
        if (!isOpen || sink.isLost()) await open();
        // Those who were told that it takes too long get nothing written any more.
        const asked = isStuck ? [] : batch.flatMap(({ lines }) => (lines ? [lines] : []));
        // A sink that failed has to take something before it is believed again.
        const writes = !wasOpen || asked.length > 0;
        const signed = writes ? await commit(asked.flat()) : "";
        if (!writes) await sink.check(end);
        for (const { resolve } of batch) resolve(signed);
      } catch (cause) {
        for (const { reject } of batch) reject(cause);
      } finally {
        clearTimeout(timer);
        isStuck = false;
      }
    }
    working = undefined;
  }

  /** Nobody waits any longer. What was sent is decided when the sink answers, and what was not sent never is. */
  function giveUp(batch: readonly Waiting[]): void {
    isStuck = true;
    const refused = [...batch, ...waiting];
    waiting = [];
    for (const { reject } of refused) reject(stuck());
  }

  const stuck = () =>
    new ClaimcheckError("audit_unavailable", {
      detail: `the log did not take a write within ${timeLimit / 1000} s`,
    });

  const wait = (lines: readonly Unplaced[] | undefined): Promise<string> =>
    new Promise((resolve, reject) => {
      if (isStuck) return reject(stuck());
      waiting.push({ lines, resolve, reject });
      working ??= work();
    });

  await inTime(open(), startLimit).catch(async (cause) => {
    // What is remembered cannot be asked for now: nothing is written before that is known.
    if (cause instanceof ClaimcheckError && cause.code === "store_unavailable") return;
    await sink.close().catch(() => {});
    throw cause;
  });

  return {
    /**
     * @returns the head that the lines are part of, once it is durable.
     * @throws what the sink threw, or `audit_unavailable` when it takes too long: whether the lines are there is not
     * known then.
     */
    append: (lines: readonly Unplaced[]) => wait(lines),

    /** Finds out whether it can be written, and opens it again after a failure. @throws as `append`. */
    async look(): Promise<void> {
      await wait(undefined);
    },

    /** All of it, signed now; missing where there is none. */
    head: async (): Promise<string | undefined> =>
      end && signAuditHead({ chain: end.chain, hash: end.hash, iat: instant() }, key),

    /** The head that the log lacked when it was opened, where that was accepted. */
    accepted: (): KeptHead["head"] | undefined => accepted,

    /** @throws what the sink threw, or `audit_unavailable` when it takes too long. */
    query: (filter: AuditFilter, page: PageRequest): Promise<AuditPage> =>
      inTime(sink.query(filter, page), queryLimit),

    /** Does not wait for a sink that is stuck. */
    async close(): Promise<void> {
      await Promise.race([working, elapse(timeLimit, undefined, { ref: false })]);
      await memory?.close();
      if (!working) await sink.close();
    },
  };
}

/** A disk that stalls cannot be told to stop; but nobody waits for it. */
async function inTime<T>(work: Promise<T>, limit: number): Promise<T> {
  const given = new AbortController();
  const late = elapse(limit, undefined, { signal: given.signal }).then(
    () => {
      const detail = `the log did not answer within ${limit / 1000} s`;
      throw new ClaimcheckError("audit_unavailable", { detail });
    },
    () => new Promise<never>(() => {}),
  );
  return Promise.race([work, late]).finally(() => given.abort());
}

const isSame = (one: ChainEnd | undefined, other: ChainEnd | undefined): boolean =>
  one?.chain === other?.chain && one?.seq === other?.seq && one?.hash === other?.hash;

/** In seconds since 1970; of two heads that are given away the later one has the later time, to the microsecond. */
const instant = () => (performance.timeOrigin + performance.now()) / 1000;

/** Whether a log that ends there has the line of this head: its checkpoint is the line after it. */
const reaches = (end: ChainEnd | undefined, { chain, seq }: KeptHead["head"]): boolean =>
  end !== undefined && end.chain === chain && end.seq > seq;

function lost({ chain, seq }: Pick<ChainEnd, "chain" | "seq">, found: ChainEnd | undefined): ClaimcheckError {
  const there = !found ? "is gone" : found.chain === chain ? `ends at seq ${found.seq}` : "is another chain";
  return new ClaimcheckError("audit_unavailable", {
    detail:
      `the log ${there}, and this broker wrote it up to seq ${seq}; restore it, ` +
      "or stop the broker and run `claimcheck audit accept-head`",
  });
}
