/** Reads a chain line by line, and stops where it is not whole. */
import { type AuditHead, keyIdOf, readAuditHead } from "../../shared/audit-head.ts";
import type { FindKey } from "../../shared/statement.ts";
import { type AuditLine, auditVersion, decodeLine, decodeNewer, decodePlace, hashLine } from "./record.ts";
import type { ChainEnd } from "./sink.ts";

/** Where a chain is broken: what was expected of the next line, or of the one with that number. */
export class BrokenChain extends Error {
  override readonly name = "BrokenChain";
  readonly seq: number | undefined;

  constructor(seq: number | undefined, expected: string) {
    super(expected);
    this.seq = seq;
  }
}

/** Where a chain goes on in a newer form, which says nothing about whether it is whole. */
export class NewerChain extends Error {
  override readonly name = "NewerChain";

  constructor(version: number) {
    super(
      `version ${version} of its format begins here, and this claimcheck reads up to version ${auditVersion}`,
    );
  }
}

/** Which key a head says that it is signed by: keys that were exchanged look like a forgery. */
function named(head: string): string {
  const kid = keyIdOf(head);
  return kid === undefined ? "" : ` (it names the key ${kid})`;
}

/** Of the lines that a head in the log is about. */
export const versionOf = ({ version = 1 }: AuditHead): number => version;

export type ChainReader = ReturnType<typeof createChainReader>;

/**
 * @param findKey the audit keys that checkpoints have to be signed by; without it signatures are not looked at.
 * @param from the line before the first one that is read; without it that has to be a chain line.
 */
export function createChainReader(findKey: FindKey | undefined, from?: ChainEnd) {
  let end = from;
  let sealed = from;

  /** @throws {BrokenChain} where a line does not follow the one before. */
  function expectNext({ seq, prev }: Pick<AuditLine, "seq" | "prev">): void {
    const next = end && end.seq + 1;
    if (next !== undefined && seq !== next) throw new BrokenChain(seq, `seq ${next}`);
    if (end && prev !== end.hash) throw new BrokenChain(seq, `prev ${end.hash}, the hash of the line before`);
  }

  function place(bytes: Uint8Array): AuditLine {
    const line = decodeLine(bytes);
    if (!line) {
      const newer = decodeNewer(bytes);
      if (!newer) throw new BrokenChain(end && end.seq + 1, "a line in the log's form");
      expectNext(newer);
      const { seq, version } = newer;
      end = { chain: end?.chain ?? "", seq, hash: hashLine(bytes), version };
      throw new NewerChain(version);
    }
    expectNext(line);
    const { seq, prev } = line;
    if (!end && line.type !== "chain")
      throw new BrokenChain(seq, "a chain line, as at the beginning of a file");
    if (!end && (seq === 0) !== (prev === "")) throw new BrokenChain(seq, "prev to be empty in line 0 alone");
    if (end && line.type === "chain" && line.chain !== end.chain) {
      throw new BrokenChain(seq, `chain ${end.chain}`);
    }
    return line;
  }

  return {
    /** @throws {BrokenChain} when it is not what has to come next; {NewerChain} where it begins a newer form. */
    async read(bytes: Uint8Array): Promise<AuditLine> {
      const line = place(bytes);
      const { seq, prev, time } = line;
      if (line.type === "checkpoint" && findKey) {
        const head = await readAuditHead(line.head, findKey).catch(() => undefined);
        if (!head)
          throw new BrokenChain(
            seq,
            `a head that is signed by one of the broker's audit keys${named(line.head)}`,
          );
        if (head.chain !== end?.chain || head.seq !== seq - 1 || head.hash !== prev) {
          throw new BrokenChain(seq, `the head of line ${seq - 1}`);
        }
        if (versionOf(head) !== end.version) throw new BrokenChain(seq, `a head of version ${end.version}`);
        if (head.iat !== Date.parse(time) / 1000) throw new BrokenChain(seq, "the time of its head");
      }
      const { chain, version } = line.type === "chain" ? line : (end as ChainEnd);
      end = { chain, seq, hash: hashLine(bytes), version };
      if (line.type === "checkpoint") sealed = end;
      return line;
    },

    /** For the lines behind a chain line in a newer form. @throws {BrokenChain} when it is not what has to come next. */
    follow(bytes: Uint8Array): void {
      const place = decodePlace(bytes);
      if (!place) throw new BrokenChain(end && end.seq + 1, "a line in the log's form");
      expectNext(place);
      end = { ...(end as ChainEnd), seq: place.seq, hash: hashLine(bytes) };
    },

    /** The last line that was read. */
    end: () => end,
    /** The last checkpoint that was read. */
    sealed: () => sealed,
  };
}
