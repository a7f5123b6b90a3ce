// Reads on behind a line break as if it were not there: base64, hex and dumps go on in the next line, behind an indent or
// whatever else the lines begin with.
//
//   text     … Y 2 9 y c m V j ↵ [12:00:01]␣ d C 1 o b 3 J z Z S 4 …
//   search   … → → → → → → → → 0 → → → → → → → → → → → → → → → →
//   here                     └ ┄ ┄ tried ┄ ┄ → → → → → → → → idle
//
// What the search had reached before the break is kept for as long as a line's beginning may be, and tried anew where a word
// begins. Fewer than four bytes before a break are too few to hold a line back for: they are shown, and what
// follows is hidden from the next line on; unless they end a long run of letters, as in a block of base64, and nothing but white
// space follows.

import { type Automaton, flagsOf, HIT, hitAt, LEAF, ROOT, step } from "./layout.ts";
import type { OnHit } from "./search.ts";

/** Longest beginning of a line, in bytes, with what may follow a dump in the line before. */
const leadLimit = 100;
/** Fewer bytes than these are held only for white space, if at all. */
export const certain = 4;

export interface Breaks {
  /**
   * The search was at `place` when a line broke at `position`. @param stand where each byte stands, by its number up to `number`, in a
   * ring. @param weak for less than `certain`: not even white space is waited for.
   */
  save(
    automaton: Automaton,
    place: number,
    depth: number,
    stand: Float64Array,
    number: number,
    position: number,
    weak: boolean,
  ): void;
  /** One more byte, without its escape. @param opens whether something may go on here that was kept. */
  step(automaton: Automaton, byte: number, start: number, end: number, opens: boolean): void;
  /** Nothing goes on, and nothing is kept: a step would do nothing. */
  rests(): boolean;
  /** Something that was kept goes on: each byte is a step. */
  goesOn(): boolean;
  /** Letters follow letters, which are no step where nothing goes on. */
  touch(): void;
  /** White space is over, and something else than a letter follows. */
  lead(): void;
  /** Nothing goes on, and nothing is kept for a place from `position` on. */
  idle(position: number): boolean;
  /** Where the bytes start that may still become a hit across a break; Infinity if there are none. */
  heldFrom(position: number): number;
  /** No line follows. */
  end(): void;
  reset(): void;
}

export function createBreaks(onHit: OnHit): Breaks {
  /** Where each byte stands, by its number. */
  let starts = new Float64Array(64);
  let place = ROOT;
  let depth = 0;
  let count = 0;
  /** How many there were at the last break. */
  let across = 0;

  let keptPlace = ROOT;
  let keptDepth = 0;
  let keptCount = 0;
  let keptUntil = -1;
  let keptWeak = false;
  let keptForSpace = false;
  let keptForLead = false;
  /** Nothing but white space came since. */
  let untouched = false;

  function close() {
    keptPlace = ROOT;
    keptUntil = -1;
  }

  function keep(at: number, deep: number, counted: number, position: number) {
    keptPlace = at;
    keptDepth = deep;
    keptCount = counted;
    keptUntil = position + leadLimit;
    keptWeak = false;
    keptForSpace = false;
    keptForLead = false;
    untouched = true;
  }

  function makeRoom(wanted: number) {
    let size = starts.length;
    while (size < wanted) size *= 2;
    if (size > starts.length) starts = new Float64Array(size);
  }

  return {
    save(automaton, at, deep, stand, number, position, weak) {
      if (place !== ROOT && deep <= depth) return;
      if (
        keptPlace !== ROOT &&
        position <= keptUntil &&
        keptDepth >= (untouched ? deep : certain) &&
        (untouched || deep < certain)
      )
        return;
      makeRoom(2 * automaton.longest + 2);
      for (let back = deep; back > 0; back--)
        starts[deep - back] = stand[(number - back) & (stand.length - 1)]!;
      place = ROOT;
      depth = 0;
      keep(at, deep, deep, position);
      keptForSpace = !weak && deep < certain;
      keptWeak = weak;
    },
    step(automaton, byte, start, end, opens) {
      const mask = starts.length - 1;
      if (byte !== 0x20) untouched = false;
      if (place === ROOT) {
        if (keptPlace === ROOT) return;
        if (start > keptUntil) {
          close();
          return;
        }
        if (!opens) return;
        place = keptPlace;
        depth = keptDepth;
        count = across = keptCount;
        // Not for a line's beginning, only for what follows at once.
        if (keptWeak && !keptForLead) close();
        if (keptWeak) for (let back = 1; back <= depth; back++) starts[(count - back) & mask] = start;
      }
      const before = place;
      const deep = depth;
      starts[count++ & mask] = start;
      place = step(automaton, place, byte);
      depth = place === before + 1 && before >= 0 ? depth + 1 : automaton.depthOf(place);
      if (flagsOf(automaton, place) & HIT) {
        const pattern = hitAt(automaton, place);
        const length = automaton.lengths[pattern]!;
        if (length > count - across) onHit(starts[(count - length) & mask]!, end, pattern);
        if (flagsOf(automaton, place) & LEAF) {
          place = automaton.links[place]!;
          depth = automaton.depthOf(place);
        }
      }
      if (depth > count - across) return;
      // It does not reach back across the break any more. If it went on for a while, the next break may be here.
      if (count - 1 - across >= certain) keep(before, deep, count - 1, start);
      place = ROOT;
      depth = 0;
    },
    rests: () => place === ROOT && keptPlace === ROOT,
    goesOn: () => place !== ROOT,
    touch() {
      untouched = false;
    },
    lead() {
      if (!keptForSpace && !keptWeak) return;
      if (keptForSpace) {
        keptForSpace = false;
        keptForLead = true;
        keptWeak = true;
      } else if (!keptForLead) close();
    },
    idle: (position) => place === ROOT && (keptPlace === ROOT || position > keptUntil),
    heldFrom(position) {
      const mask = starts.length - 1;
      const active = place === ROOT ? Number.POSITIVE_INFINITY : starts[(count - depth) & mask]!;
      if (keptPlace === ROOT || keptWeak || position > keptUntil) return active;
      return Math.min(active, starts[(keptCount - keptDepth) & mask]!);
    },
    end: close,
    reset() {
      place = ROOT;
      depth = 0;
      count = 0;
      across = 0;
      close();
    },
  };
}
