// The search over a text without its escapes, character by character: white space in a row is one blank, of doubled quotes, dollars
// and percent signs one counts, and what breaks off at a line's end goes on in the next line.
//
// Each character has a number; where it stands in the stream is remembered for as many of the last ones as a pattern may be long.

import { certain, createBreaks } from "./breaks.ts";
import { colon, isBreak, isHex, isLetter, isLowerHex, isQuote, isSpace } from "./bytes.ts";
import { begins } from "./escapes.ts";
import { skip } from "./filter.ts";
import { address, longestAddress, longRun, shortRun } from "./glance.ts";
import {
  type Automaton,
  DEEP,
  DEPTH_SHIFT,
  HIT,
  hitAt,
  LEAF,
  ROOT,
  ROW,
  SHALLOW,
  TAG_BITS,
} from "./layout.ts";
import type { Matcher } from "./matcher.ts";
import type { OnHit } from "./search.ts";
import type { Doubled } from "./triggers.ts";

const blank = 0x20;
const dollar = 0x24;
const percent = 0x25;
/** So many bytes of a dump's line may follow its digits: blanks, bars and what they stand for as text. */
const asideLimit = 24;
/** A match of so many bytes is no chance, whichever pattern it belongs to. */
const surely = 8;
/** A pattern that goes on behind white space is also kept for a line that goes on without, if so much of it was read at most. */
const longestKept = 256;
/** Digits of a dump that an aside may follow. */
const shortestDump = 8;
/** Longest line of a dump, in bytes. */
const dumpWidth = 96;
/** Fewer plain bytes in a row are read one by one. */
const worthARun = 4;
/** The automaton reads so many before it asks the filters, up to so many if they let none pass. */
const shortestStay = 2 * SHALLOW;
const longestStay = 256;

export interface Characters {
  /** Starts anew, for a text that goes on behind `previous` and so many letters in a row. @param spare how many characters are remembered beyond patterns. */
  begin(matcher: Matcher, previous: number, letters: number, spare: number): void;
  /** The character at `[start, end)`; below 0, that something dressed stands there which is none. */
  take(byte: number, start: number, end: number, dressed: boolean): void;
  /**
   * Takes as many of `bytes[at, to)` as are plain and nothing but a step of the automaton, and gives where they end; `position` is where
   * the bytes start.
   */
  takeRun(bytes: Uint8Array, view: DataView | undefined, at: number, to: number, position: number): number;
  /** Whether nothing is left that the plain search would not know. */
  isIdle(position: number): boolean;
  /** Where the bytes start that may still become a hit. */
  heldFrom(position: number): number;
  /** The text ends at `position`. */
  end(position: number): void;
  wipe(): void;
}

/** What is done with a byte. */
const SPACE = 1;
/** Counts once if it is there twice. */
const PAIR = 2;
const ESCAPE = 4;
const LETTER = 8;

function rolesOf({ quotes, dollars }: Doubled): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => {
    const pairs = byte === percent || (quotes && isQuote(byte)) || (dollars && byte === dollar);
    return (
      (isSpace(byte) ? SPACE : 0) |
      (pairs ? PAIR : 0) |
      (begins[byte] === 1 ? ESCAPE : 0) |
      (isLetter[byte] === 1 ? LETTER : 0)
    );
  });
}

export function createCharacters(onHit: OnHit): Characters {
  const breaks = createBreaks((start, end, pattern) => {
    onHit(start, end, pattern);
    if (end <= dumpUntil) shownAs = { start, end, pattern };
  });
  let matcher: Matcher | undefined;
  let automaton: Automaton | undefined;
  let doubled: Doubled | undefined;
  let roles: Uint8Array = new Uint8Array(256);
  /** Where each of the last characters stands, by its number. */
  let starts = new Float64Array(64);
  let count = 0;
  let place = ROOT;
  let depth = 0;
  /** The last character, and where the last dressed one begins. */
  let last = -1;
  let dressedAt = -1;
  /** Letters in a row, as they stand. */
  let run = 0;
  /** How many bytes the automaton reads at least before the filters are asked. */
  let stay = shortestStay;

  /** White space: what had been reached before it, and whether a line broke in it. */
  let placeBefore = ROOT;
  let depthBefore = 0;
  let runBefore = 0;
  let isHexBefore = false;
  let wideBefore = false;
  let brokeBefore = true;

  /** A dump that the search has lost, which may go on in the next line. */
  let asidePlace = ROOT;
  let asideDepth = 0;
  let asideCount = 0;
  let asideUntil = -1;
  /** A dump's line may go on up to here. */
  let dumpUntil = -1;
  /** How many digits the line begins with so far; -1 if it does not begin with an address. */
  let lineDigits = 0;
  /** What was found in the dump's line, which may end with what its bytes are as text. */
  let shownAs: { start: number; end: number; pattern: number } | undefined;

  const startOf = (number: number) => starts[number & (starts.length - 1)]!;

  function take(byte: number, start: number, end: number, dressed: boolean): void {
    if (byte < 0) {
      dressedAt = start;
      return;
    }
    const role = roles[byte]!;
    if ((role & SPACE) !== 0) {
      takeSpace(byte, start, end, dressed);
      return;
    }
    if ((role & PAIR) !== 0 && (byte === last || (byte !== percent && isQuote(byte) && isQuote(last)))) {
      starts[(count - 1) & (starts.length - 1)] = start;
      dressedAt = start;
      return;
    }
    if (dressed) dressedAt = start;
    const isALetter = (role & LETTER) !== 0;
    if (last === blank && !isALetter) breaks.lead();
    if (lineDigits >= 0) {
      if (lineDigits >= address && byte === colon) dumpUntil = start + dumpWidth;
      lineDigits = isLowerHex(byte) && lineDigits < longestAddress ? lineDigits + 1 : -1;
    }
    const opens = isALetter ? isLetter[last] !== 1 : last === blank;
    search(byte, start, end);
    if (!breaks.rests()) breaks.step(automaton!, byte, start, end, opens);
    run = isALetter && !dressed ? run + 1 : 0;
    last = byte;
  }

  function takeSpace(byte: number, start: number, end: number, dressed: boolean): void {
    if (last === blank) {
      dressedAt = start;
      wideBefore = true;
      if (isBreak(byte)) lineBroke(end);
      return;
    }
    const irregular = dressed || byte !== blank;
    if (irregular) dressedAt = start;
    placeBefore = place;
    depthBefore = depth;
    runBefore = run;
    isHexBefore = isHex(last) || last === colon;
    wideBefore = irregular;
    brokeBefore = false;
    if (lineDigits >= address) dumpUntil = start + dumpWidth;
    lineDigits = -1;
    search(blank, start, end);
    if (!breaks.rests()) breaks.step(automaton!, blank, start, end, false);
    run = 0;
    last = blank;
    if (isBreak(byte)) lineBroke(end);
  }

  function search(byte: number, start: number, end: number) {
    const { flags, labels, links, rows, classes, width } = automaton!;
    const was = place;
    const deep = depth;
    starts[count++ & (starts.length - 1)] = start;
    let at = was;
    while (at >= 0 && labels[at] !== byte) at = links[at]!;
    let reached: number;
    if (at >= 0) {
      reached = flags[at + 1]!;
      place = reached & ROW ? links[at + 1]! : at + 1;
    } else {
      place = rows[~at + classes[byte]!]! >> TAG_BITS;
      reached = place >= 0 ? flags[place]! : rows[~place + width]!;
    }
    depth = reached >> DEPTH_SHIFT;
    if (depth === DEEP) depth = place === was + 1 && was >= 0 ? deep + 1 : automaton!.depthOf(place);
    const isHit = (reached & HIT) !== 0;
    if (isHit) {
      const pattern = hitAt(automaton!, place);
      note(startOf(count - automaton!.lengths[pattern]!), start, end, pattern);
      if (reached & LEAF) {
        place = links[place]!;
        depth = automaton!.depthOf(place);
      }
    }
    if (!isHit && deep >= shortestDump && last === blank && wideBefore && 2 * depth <= deep) {
      asidePlace = was;
      asideDepth = deep;
      asideCount = count - 1;
      asideUntil = start + asideLimit;
      if (brokeBefore) saveAside(start);
    }
  }

  /** A hit; its last character begins at `start`. */
  function note(from: number, start: number, end: number, pattern: number) {
    if (from <= dressedAt) onHit(from, end, pattern);
    if (start < dumpUntil) shownAs = { start: from, end, pattern };
  }

  /** The first time in a row of white space. */
  function lineBroke(position: number) {
    if (shownAs) onHit(shownAs.start, position - 1, shownAs.pattern);
    shownAs = undefined;
    dumpUntil = -1;
    lineDigits = 0;
    if (brokeBefore) return;
    brokeBefore = true;
    // To keep a long one that goes on by itself would cost its length at each of its lines.
    const isLost = 2 * depth <= depthBefore || depthBefore <= longestKept;
    if (asideUntil >= position) saveAside(position);
    else if (depthBefore > 0 && isLost && (runBefore >= shortRun || (depthBefore >= surely && isHexBefore))) {
      const weak = depthBefore < certain && runBefore < longRun;
      // The white space is one byte.
      breaks.save(automaton!, placeBefore, depthBefore, starts, count - 1, position, weak);
    }
  }

  function saveAside(position: number) {
    breaks.save(automaton!, asidePlace, asideDepth, starts, asideCount, position, false);
  }

  /** Where a run of bytes ends that are nothing but a step of the automaton, as far as it is up to them. */
  function runEnd(bytes: Uint8Array, at: number, to: number): number {
    const table = roles;
    let end = at;
    // Where a line's end is kept, it may go on where a word begins.
    if (breaks.rests()) while (end < to && (table[bytes[end]!]! & (SPACE | PAIR | ESCAPE)) === 0) end++;
    else if (isLetter[last] === 1) while (end < to && table[bytes[end]!] === LETTER) end++;
    return end;
  }

  function takeRun(bytes: Uint8Array, view: DataView | undefined, at: number, to: number, position: number) {
    if (last === blank || last < 0 || lineDigits >= 0 || breaks.goesOn()) return at;
    const end = runEnd(bytes, at, to);
    if (end - at < worthARun) return at;
    if (!breaks.rests()) breaks.touch();
    searchRun(bytes, view, at, end, position);
    let letters = 0;
    while (letters < longRun && letters < end - at && isLetter[bytes[end - 1 - letters]!] === 1) letters++;
    run = letters === end - at ? run + letters : letters;
    last = bytes[end - 1]!;
    return end;
  }

  /** The same as search() for each of the bytes. */
  function searchRun(
    bytes: Uint8Array,
    view: DataView | undefined,
    from: number,
    to: number,
    position: number,
  ) {
    const { flags, labels, links, rows, classes, width } = automaton!;
    const [first, second] = matcher!.filters;
    const window =
      first === undefined || view === undefined ? to : Math.max(first.window, second?.window ?? 0);
    let node = place;
    let deep = depth;
    let at = from;
    let askAt = from;
    while (at < to) {
      if (deep < SHALLOW && at >= askAt && at - deep >= from && at - deep + window <= to) {
        // What was read of it, a filter sees again.
        const asked = at - deep;
        at = skip(first!, bytes, view, asked, to);
        if (second !== undefined) at = Math.min(at, skip(second, bytes, view, asked, to));
        stay = at - asked < 32 ? Math.min(2 * stay, longestStay) : shortestStay;
        node = ROOT;
        deep = 0;
        askAt = at + stay;
        if (at >= to) break;
      }
      const byte = bytes[at++]!;
      const was = node;
      while (node >= 0 && labels[node] !== byte) node = links[node]!;
      let reached: number;
      if (node >= 0) {
        reached = flags[node + 1]!;
        node = reached & ROW ? links[node + 1]! : node + 1;
      } else {
        node = rows[~node + classes[byte]!]! >> TAG_BITS;
        reached = node >= 0 ? flags[node]! : rows[~node + width]!;
      }
      const before = deep;
      deep = reached >> DEPTH_SHIFT;
      if (deep === DEEP) deep = node === was + 1 && was >= 0 ? before + 1 : automaton!.depthOf(node);
      if (reached & HIT) {
        const pattern = hitAt(automaton!, node);
        const start = at - automaton!.lengths[pattern]!;
        const stands = start >= from ? position + start : startOf(count + start - from);
        note(stands, position + at - 1, position + at, pattern);
        if (reached & LEAF) {
          node = links[node]!;
          deep = automaton!.depthOf(node);
        }
      }
    }
    const mask = starts.length - 1;
    count += to - from;
    for (let back = Math.min(Math.max(deep, 1), to - from); back > 0; back--)
      starts[(count - back) & mask] = position + to - back;
    place = node;
    depth = deep;
  }

  return {
    begin(given, previous, letters, spare) {
      matcher = given;
      automaton = given.automaton;
      if (doubled !== given.dressing!.doubled) roles = rolesOf(given.dressing!.doubled);
      doubled = given.dressing!.doubled;
      breaks.reset();
      const wanted = 2 * automaton.longest + spare;
      let size = starts.length;
      while (size < wanted) size *= 2;
      if (size > starts.length) starts = new Float64Array(size);
      count = 0;
      place = ROOT;
      depth = 0;
      last = isSpace(previous) ? blank : previous;
      run = letters;
      dressedAt = -1;
      depthBefore = 0;
      wideBefore = false;
      brokeBefore = true;
      asideUntil = -1;
      shownAs = undefined;
      dumpUntil = -1;
      lineDigits = previous < 0 ? 0 : -1;
    },
    take,
    takeRun,
    isIdle: (position) =>
      lineDigits <= 0 &&
      (depth === 0 || startOf(count - depth) > dressedAt) &&
      breaks.idle(position) &&
      asideUntil < position &&
      position >= dumpUntil,
    heldFrom(position) {
      let from = Math.min(position, breaks.heldFrom(position));
      if (depth > 0) from = Math.min(from, startOf(count - depth));
      if (shownAs) from = Math.min(from, shownAs.end);
      if (asideUntil >= position) from = Math.min(from, startOf(asideCount - asideDepth));
      return from;
    },
    end(position) {
      // What waits for its next line waits in vain.
      breaks.end();
      asideUntil = -1;
      // A few characters in a long dress are few.
      if (depth < certain) {
        place = ROOT;
        depth = 0;
      }
      if (shownAs) onHit(shownAs.start, position, shownAs.pattern);
      shownAs = undefined;
    },
    wipe() {
      breaks.reset();
      starts.fill(0);
      dumpUntil = -1;
    },
  };
}
