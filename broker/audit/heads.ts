/**
 * The newest head of each of a broker's chains, kept outside of the log, so that a restart knows what was there. It is
 * signed, so whoever can write where it is kept can only take it away or bring an older one; and it can only make a
 * broker refuse a log, never take one. It is kept after the write that it is of, and nobody waits for it: a crash may
 * leave the one before.
 *
 *     chain CHAIN    what a chain had
 *     place PLACE    what was in a place: for a place that is empty now
 */
import { type AuditHead, readAuditHead } from "../../shared/audit-head.ts";
import type { FindKey } from "../../shared/statement.ts";

/** Texts by name. Both may fail with `store_unavailable`. */
export interface HeadStore {
  get(name: string): Promise<string | undefined>;
  set(name: string, text: string): Promise<void>;
}

export interface KeptHead {
  readonly text: string;
  readonly head: AuditHead & { readonly seq: number };
}

export interface HeadMemory {
  /** @param chain none where the log is empty. @throws {ClaimcheckError} `store_unavailable`. */
  recall(chain: string | undefined): Promise<KeptHead | undefined>;

  /** Keeps it soon, unless a newer one comes first. */
  keep(head: { readonly text: string; readonly chain: string }): void;

  /** When the last one is kept, or could not be. */
  close(): Promise<void>;
}

/** @param place names where the log is, the same after a restart. */
export function rememberHeads(store: HeadStore, place: string, findKey: FindKey): HeadMemory {
  let next: { readonly text: string; readonly chain: string } | undefined;
  let keeping: Promise<void> | undefined;

  async function keepAll(): Promise<void> {
    while (next) {
      const { text, chain } = next;
      next = undefined;
      await Promise.all([store.set(`chain ${chain}`, text), store.set(`place ${place}`, text)]).catch(
        () => {},
      );
    }
    keeping = undefined;
  }

  return {
    async recall(chain) {
      const text = await store.get(chain === undefined ? `place ${place}` : `chain ${chain}`);
      const head = text === undefined ? undefined : await readAuditHead(text, findKey).catch(() => undefined);
      const { seq } = head ?? {};
      if (text === undefined || !head || seq === undefined) return undefined;
      return chain === undefined || head.chain === chain ? { text, head: { ...head, seq } } : undefined;
    },

    keep(head) {
      next = head;
      keeping ??= keepAll();
    },

    async close() {
      await keeping;
    },
  };
}
