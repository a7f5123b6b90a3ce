/**
 * Whether a source is worth asking. Failures in a row, or the source's own word, open the circuit: then nobody asks,
 * and everybody gets the failure that opened it. When its time is over one read goes ahead as a probe, and what
 * comes of it closes or opens the circuit for all.
 */
import type { SourceFailure } from "../providers/provider.ts";

/** So many reads in a row have to fail. */
const tolerated = 5;
/** How long nobody asks, in milliseconds, where the source does not say it. */
const rest = 10_000;

export type Circuit = ReturnType<typeof createCircuit>;

/** @param onChange told when it opens, and when it closes. */
export function createCircuit(onChange?: (open: boolean) => void) {
  let inARow = 0;
  let opened: { readonly failure: SourceFailure; readonly until: number } | undefined;
  let probing = false;

  function open(failure: SourceFailure, time: number): void {
    if (!opened) onChange?.(true);
    opened = { failure, until: performance.now() + time };
    probing = false;
  }

  return {
    /** @returns why nobody asks now; or nothing, and then the caller reports what comes of asking. */
    refusal(): SourceFailure | undefined {
      if (!opened) return undefined;
      if (probing || performance.now() < opened.until) return opened.failure;
      probing = true;
      return undefined;
    },

    succeeded(): void {
      inARow = 0;
      if (opened) onChange?.(false);
      opened = undefined;
      probing = false;
    },

    /** @param time how long the source wants to be left alone, in milliseconds. */
    failed(failure: SourceFailure, time?: number): void {
      inARow++;
      if (time !== undefined || inARow >= tolerated || probing) open(failure, time ?? rest);
    },
  };
}
