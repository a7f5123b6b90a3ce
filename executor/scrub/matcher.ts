// Everything that is compiled from a set of values, shared by all streams.

import { buildAutomaton } from "./automaton.ts";
import { buildFilters, type Filter } from "./filter.ts";
import type { Automaton } from "./layout.ts";

/** Read only, but for wipe(). */
export interface Matcher {
  readonly automaton: Automaton;
  readonly filters: readonly Filter[];
  /** Pattern to the index of the value it spells; the first one where several share it. */
  readonly owners: Int32Array;
  /** Whether patterns are also found across the line breaks of wrapped base64 (wrap.ts). */
  readonly seesWraps: boolean;
  /** Zeroes all that could give a value away. What is found from then on is undefined. */
  wipe(): void;
}

/** A byte pattern and the index of the value it stands for. */
export interface Pattern {
  readonly bytes: Uint8Array;
  readonly owner: number;
}

/** Empty patterns are found nowhere, the same one twice is one. */
export function compile(given: readonly Pattern[], seesWraps: boolean): Matcher {
  const sorted = given.filter(({ bytes }) => bytes.length > 0);
  sorted.sort((a, b) => compareBytes(a.bytes, b.bytes) || a.owner - b.owner);
  const unique = sorted.filter(({ bytes }, i) => i === 0 || compareBytes(sorted[i - 1]!.bytes, bytes) !== 0);
  const patterns = unique.map(({ bytes }) => bytes);
  const automaton = buildAutomaton(patterns);
  const filters = buildFilters(patterns);
  return {
    automaton,
    filters,
    owners: Int32Array.from(unique, ({ owner }) => owner),
    seesWraps,
    wipe() {
      for (const table of [
        automaton.flags,
        automaton.labels,
        automaton.links,
        automaton.outs,
        automaton.rows,
      ])
        table.fill(0);
      automaton.classes.fill(0);
      for (const { grams } of filters) grams.fill(0);
    },
  };
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const end = Math.min(a.length, b.length);
  for (let i = 0; i < end; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}
