// Finds patterns that are dressed: with escapes instead of their characters, quotes and dollars doubled, more or other white
// space than one blank, or broken off at a line's end. It is a second search of the same automaton, over the text
// as escapes.ts reads it:
//
//   text         p % 4 0 s s \ u 0 0 2 f w o r d ↵ ␣ ␣ t w o
//   read as      p @ s s / w o r d ␣ t w o
//
// It costs more than the plain search and finds nothing else in plain text, so it only runs where triggers.ts sees something
// that glance.ts does not rule out. It goes back to where the pattern may have begun: bytes before that are plain, so that the
// plain search has held them. No byte is read twice, so the work stays linear.
//
// A hit counts if something in it is dressed. What is held for it from its plain beginning on, the plain search holds, too.

import { certain, createBreaks } from "./breaks.ts";
import { colon, isBreak, isHex, isLetter, isLowerHex, isQuote, isSpace } from "./bytes.ts";
import { begins, createUnescape, mayBegin } from "./escapes.ts";
import {
  address,
  type ByteAt,
  createGlance,
  isDump,
  longestAddress,
  longRun,
  mayReachAcross,
  shortRun,
} from "./glance.ts";
import { isPair } from "./hints.ts";
import { flagsOf, HIT, hitAt, LEAF, ROOT, step } from "./layout.ts";
import type { Matcher } from "./matcher.ts";
import type { OnHit } from "./search.ts";
import { createTriggers } from "./triggers.ts";

const blank = 0x20;
const dollar = 0x24;
const percent = 0x25;
const LF = 0x0a;
/** No escape is longer, so none that began before goes on behind so many bytes without a beginning. */
const longestEscape = 16;
/** So many bytes of a dump's line may follow its digits: blanks, bars and what they stand for as text. */
const asideLimit = 24;
/** So many bytes of a pattern are no chance, whatever they end. */
const surely = 8;
/** A pattern that goes on behind white space is also kept for a line that goes on without, if so much of it was read at most. */
const longestKept = 256;
/** The search was needed again within so many bytes: to begin it costs more than to go on. */
const worthStaying = 32;
const longestStay = 1024;
/** Digits of a dump that an aside may follow. */
const shortestDump = 8;

/** Bytes of history that a reader keeps at least. */
export const recentBytes = 96;
/** Longest line of a dump, in bytes. */
const dumpWidth = 96;

export interface Dressed {
  /** Reads the chunk, which begins at `position`, behind `history`. */
  read(
    matcher: Matcher,
    bytes: Uint8Array,
    view: DataView | undefined,
    position: number,
    history: Uint8Array,
  ): void;
  /** Where the bytes start, up to `position`, that may still become a hit. */
  heldFrom(position: number): number;
  /** Reads bytes from `position` on to the last one, whatever they are. */
  replay(matcher: Matcher, bytes: Uint8Array, position: number): void;
  /** Bytes taken and looked back at so far, for the test that shows them to be linear. */
  steps(): number;
  /** No more bytes come. */
  end(): void;
  reset(): void;
}

export function createDressed(onHit: OnHit): Dressed {
  let matcher: Matcher | undefined;
  const breaks = createBreaks((start, end, pattern) => {
    onHit(start, end, pattern);
    if (end <= dumpUntil) shownAs = { start, end, pattern };
  });
  const glance = createGlance();
  const triggers = createTriggers();
  /** The chunk, and what came before it. */
  let chunk: Uint8Array = new Uint8Array(0);
  let before = chunk;
  const byteAt: ByteAt = (at) =>
    at >= 0 ? (at < chunk.length ? chunk[at]! : -1) : at < -before.length ? -2 : before[before.length + at]!;
  const decoder = createUnescape(take);
  /** Whether the search is under way; all up to `readTo` is read. */
  let engaged = false;
  let readTo = -1;
  /** How many bytes it reads at least, because it had just stopped when it was needed again; where it may stop. */
  let stay = 0;
  let stayTo = -1;
  let steps = 0;
  /** Where each of the last bytes stands, by its number. */
  let starts = new Float64Array(64);
  let count = 0;
  let place = ROOT;
  let depth = 0;
  /** The last byte taken, and where the last dressed one begins. */
  let last = -1;
  let dressedAt = -1;
  /** Letters in a row, as they stand. */
  let run = 0;
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
    const space = isSpace(byte);
    if (space && last === blank) {
      dressedAt = start;
      wideBefore = true;
      if (isBreak(byte)) lineBroke(end);
      return;
    }
    const { doubled } = matcher!.dressing!;
    if (
      (doubled.quotes && isQuote(byte) && isQuote(last)) ||
      (doubled.dollars && byte === dollar && last === dollar) ||
      (byte === percent && last === percent)
    ) {
      starts[(count - 1) & (starts.length - 1)] = start;
      dressedAt = start;
      return;
    }
    const irregular = dressed || (space && byte !== blank);
    if (irregular) dressedAt = start;
    if (space) {
      placeBefore = place;
      depthBefore = depth;
      runBefore = run;
      isHexBefore = isHex(last) || last === colon;
      wideBefore = irregular;
      brokeBefore = false;
    } else if (last === blank && isLetter[byte] === 0) breaks.lead();
    if (lineDigits >= 0) {
      if (lineDigits >= address && (space || byte === colon)) dumpUntil = start + dumpWidth;
      lineDigits = isLowerHex(byte) && lineDigits < longestAddress ? lineDigits + 1 : -1;
    }
    const opens = !space && (isLetter[byte] === 1 ? isLetter[last] !== 1 : last === blank);
    search(space ? blank : byte, start, end);
    if (!breaks.rests()) breaks.step(matcher!.automaton, space ? blank : byte, start, end, opens);
    run = isLetter[byte] === 1 && !dressed ? run + 1 : 0;
    last = space ? blank : byte;
    if (isBreak(byte)) lineBroke(end);
  }

  function search(byte: number, start: number, end: number) {
    const { automaton } = matcher!;
    const was = place;
    const deep = depth;
    starts[count++ & (starts.length - 1)] = start;
    place = step(automaton, place, byte);
    depth = place === was + 1 && was >= 0 ? depth + 1 : automaton.depthOf(place);
    const isHit = (flagsOf(automaton, place) & HIT) !== 0;
    if (isHit) {
      const pattern = hitAt(automaton, place);
      const from = startOf(count - automaton.lengths[pattern]!);
      if (from <= dressedAt) onHit(from, end, pattern);
      if (start < dumpUntil) shownAs = { start: from, end, pattern };
      if (flagsOf(automaton, place) & LEAF) {
        place = automaton.links[place]!;
        depth = automaton.depthOf(place);
      }
    }
    if (!isHit && deep >= shortestDump && 2 * depth <= deep && last === blank && wideBefore) {
      asidePlace = was;
      asideDepth = deep;
      asideCount = count - 1;
      asideUntil = start + asideLimit;
      if (brokeBefore) saveAside(start);
    }
  }

  /** The first time in a row of white space. */
  function lineBroke(position: number) {
    if (shownAs) onHit(shownAs.start, position - 1, shownAs.pattern);
    shownAs = undefined;
    dumpUntil = -1;
    lineDigits = 0;
    if (brokeBefore) return;
    brokeBefore = true;
    const { automaton } = matcher!;
    // To keep a long one that goes on by itself would cost its length at each of its lines.
    const isLost = 2 * depth <= depthBefore || depthBefore <= longestKept;
    if (asideUntil >= position) saveAside(position);
    else if (depthBefore > 0 && isLost && (runBefore >= shortRun || (depthBefore >= surely && isHexBefore))) {
      const weak = depthBefore < certain && runBefore < longRun;
      // The white space is one byte.
      breaks.save(automaton, placeBefore, depthBefore, (back) => startOf(count - 1 - back), position, weak);
    }
  }

  function saveAside(position: number) {
    breaks.save(
      matcher!.automaton,
      asidePlace,
      asideDepth,
      (back) => startOf(asideCount - back),
      position,
      false,
    );
  }

  /** Whether nothing is left that the plain search would not know. */
  function isIdle(position: number): boolean {
    return (
      lineDigits <= 0 &&
      (depth === 0 || startOf(count - depth) > dressedAt) &&
      breaks.idle(position) &&
      asideUntil < position &&
      position >= dumpUntil
    );
  }

  /** Reads `bytes[from, to)`; from `leave` on, it may stop. Gives where it did. */
  function readOn(bytes: Uint8Array, from: number, to: number, position: number, leave: number): number {
    for (let at = from; at < to; ) {
      const byte = bytes[at]!;
      if (begins[byte] === 0 && decoder.rests()) take(byte, position + at, position + at + 1, false);
      else decoder.feed(byte, position + at, position + at + 1, false);
      at++;
      if (at < leave || !isIdle(position + at)) continue;
      const pending = decoder.pending();
      if (pending !== undefined) {
        // The last byte may begin an escape; so may each next one, for ever.
        if (at === leave || pending !== position + at - 1) continue;
        decoder.reset();
        at--;
      }
      engaged = false;
      readTo = position + at;
      steps += at - from;
      return at;
    }
    engaged = true;
    readTo = position + to;
    steps += to - from;
    return to;
  }

  function begin(previous: number, letters: number) {
    decoder.reset();
    breaks.reset();
    const wanted = 2 * matcher!.automaton.longest + recentBytes;
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
  }

  /** Where to begin for a trigger at `at`: where the plain bytes before it end that a pattern may have, but not in an escape. */
  function beginningOf(at: number, byteAt: ByteAt, least: number): number {
    const hints = matcher!.dressing!.hints;
    let from = at;
    // White space in a row is one.
    while (from > least && isSpace(byteAt(from - 1))) from--;
    for (;;) {
      while (from > least) {
        const a = byteAt(from - 1);
        const b = byteAt(from);
        if (from < at && !isSpace(b) && !isPair(hints, a, b)) break;
        if (a < 0) break;
        from--;
      }
      let opening = -1;
      for (let k = 1; k <= longestEscape && from - k >= least; k++)
        if (begins[byteAt(from - k)] === 1 && (k > from || mayBegin(chunk, from - k))) opening = from - k;
      if (opening < 0) {
        steps += at - from;
        return from;
      }
      from = opening;
    }
  }

  return {
    read(given, bytes, view, position, history) {
      matcher = given;
      const { hints, doubled } = given.dressing!;
      const { length } = bytes;
      const past = history.length;
      chunk = bytes;
      before = history;
      let at = engaged ? readOn(bytes, 0, length, position, Math.max(0, stayTo - position)) : 0;
      if (at === length) return;
      let next = at === 0 && (position === 0 || byteAt(-1) === LF) ? -1 : 0;
      triggers.start(bytes, view, byteAt(-1), doubled);
      for (;;) {
        // The chunk before may have ended with a line; the stream's first line has no line break before it.
        const trigger = next < 0 ? -1 : triggers.next(at);
        next = trigger + 1;
        if (trigger >= length) return;
        if (bytes[trigger] === LF && !mayReachAcross(hints, bytes, trigger)) {
          at = trigger + 1;
          continue;
        }
        const dump = (trigger < 0 || bytes[trigger] === LF) && isDump(byteAt, trigger + 1);
        if (!dump && !glance(hints, byteAt, trigger)) {
          at = trigger + 1;
          continue;
        }
        const least = Math.max(readTo - position, -past);
        const from = position === 0 && trigger < 0 ? 0 : beginningOf(trigger, byteAt, least);
        if (from > least || readTo - position < least) {
          let letters = 0;
          while (letters < longRun && isLetter[byteAt(from - 1 - letters)] === 1) letters++;
          begin(byteAt(from - 1), letters);
        }
        if (from < 0) readOn(history, past + from, past, position - past, Number.POSITIVE_INFINITY);
        stay = position + trigger - readTo < worthStaying ? Math.min(stay + worthStaying, longestStay) : 0;
        const leave = trigger + 1 + (dump ? 1 : 0) + stay;
        stayTo = position + leave;
        at = readOn(bytes, Math.max(from, 0), length, position, leave);
        if (at === length) return;
      }
    },
    heldFrom(position) {
      if (!engaged) return position;
      let from = Math.min(position, decoder.pending() ?? position, breaks.heldFrom(position));
      if (depth > 0) from = Math.min(from, startOf(count - depth));
      if (shownAs) from = Math.min(from, shownAs.end);
      if (asideUntil >= position) from = Math.min(from, startOf(asideCount - asideDepth));
      return from;
    },
    replay(given, bytes, position) {
      matcher = given;
      begin(-1, 0);
      readOn(bytes, 0, bytes.length, position, Number.POSITIVE_INFINITY);
    },
    steps: () => steps,
    end() {
      if (!engaged) return;
      decoder.end();
      // What waits for its next line waits in vain.
      breaks.end();
      asideUntil = -1;
      // A few characters in a long dress are few.
      if (depth < certain) {
        place = ROOT;
        depth = 0;
      }
      if (shownAs) onHit(shownAs.start, readTo, shownAs.pattern);
      shownAs = undefined;
    },
    reset() {
      decoder.reset();
      breaks.reset();
      starts.fill(0);
      engaged = false;
      readTo = -1;
      dumpUntil = -1;
    },
  };
}
