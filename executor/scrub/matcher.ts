// Everything that is compiled from a set of values, shared by all streams.

import { buildAutomaton } from "./automaton.ts";
import { buildFilters, type Filter } from "./filter.ts";
import { buildHints, type Hints, wipeHints } from "./hints.ts";
import type { Automaton } from "./layout.ts";
import type { Doubled } from "./triggers.ts";

/** Read only, but for wipe(). */
export interface Matcher {
  readonly automaton: Automaton;
  readonly filters: readonly Filter[];
  /** Pattern to the index of the value it spells; the first one where several share it. */
  readonly owners: Int32Array;
  /** What dressed.ts needs; undefined if patterns are only found as they are. */
  readonly dressing: Dressing | undefined;
  /** Zeroes all that could give a value away. What is found from then on is undefined. */
  wipe(): void;
}

export interface Dressing {
  readonly hints: Hints;
  readonly doubled: Doubled;
}

/** A byte pattern and the index of the value it stands for. */
export interface Pattern {
  readonly bytes: Uint8Array;
  readonly owner: number;
}

/**
 * Empty patterns are found nowhere, the same one twice is one.
 *
 * @param dressed whether they are also found dressed.
 * @param blanks whether a value has white space, so that more of it counts as well.
 */
export function compile(given: readonly Pattern[], dressed: boolean, blanks = false): Matcher {
  const sorted = given.filter(({ bytes }) => bytes.length > 0);
  sorted.sort((a, b) => compareBytes(a.bytes, b.bytes) || a.owner - b.owner);
  const unique = sorted.filter(({ bytes }, i) => i === 0 || compareBytes(sorted[i - 1]!.bytes, bytes) !== 0);
  const patterns = unique.map(({ bytes }) => bytes);
  const automaton = buildAutomaton(patterns);
  const filters = buildFilters(patterns);
  const dressing = dressed && patterns.length > 0 ? buildDressing(patterns, blanks) : undefined;
  return {
    automaton,
    filters,
    owners: Int32Array.from(unique, ({ owner }) => owner),
    dressing,
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
      if (dressing) wipeHints(dressing.hints);
    },
  };
}

function buildDressing(patterns: readonly Uint8Array[], blanks: boolean): Dressing {
  const hints = buildHints(patterns);
  const uses = (...bytes: number[]) => bytes.some((byte) => hints.used[byte] === 1);
  return { hints, doubled: { quotes: uses(0x22, 0x27), dollars: uses(0x24), blanks } };
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const end = Math.min(a.length, b.length);
  for (let i = 0; i < end; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}
