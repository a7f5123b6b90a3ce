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

import { isLetter, isSpace } from "./bytes.ts";
import { createCharacters } from "./characters.ts";
import { begins, createUnescape, mayBegin } from "./escapes.ts";
import { type ByteAt, createGlance, isDump, longRun, mayReachAcross } from "./glance.ts";
import { isPair } from "./hints.ts";
import type { Matcher } from "./matcher.ts";
import type { OnHit } from "./search.ts";
import { createTail, type Tail } from "./tail.ts";
import { createTriggers } from "./triggers.ts";
import { BARE, BYTE, ITSELF, LENGTH_SHIFT, SOFT, wholeEscape } from "./whole-escapes.ts";

const LF = 0x0a;
/** No escape is longer, so none that began before goes on behind so many bytes without a beginning. */
const longestEscape = 16;
/** The search was needed again within so many bytes: to begin it costs more than to go on. */
const worthStaying = 32;
const longestStay = 1024;
/** Beyond any chunk. */
const never = 0x3fffffff;
/** Plain bytes that are read at once where it may stop. */
const plainly = 64;

/** Bytes of history that a reader keeps at least. */
export const recentBytes = 96;

export interface Dressed {
  /** Reads the chunk, which begins at `position`, behind `history`. */
  read(
    matcher: Matcher,
    bytes: Uint8Array,
    view: DataView | undefined,
    position: number,
    history: Tail,
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
  const characters = createCharacters(onHit);
  const glance = createGlance();
  const triggers = createTriggers();
  /** The chunk, and what came before it. */
  let chunk: Uint8Array = new Uint8Array(0);
  let before = createTail();
  const byteAt: ByteAt = (at) => (at < 0 ? before.last(-at) : at < chunk.length ? chunk[at]! : -1);
  const decoder = createUnescape(characters.take);
  /** Whether the search is under way; all up to `readTo` is read. */
  let engaged = false;
  let readTo = -1;
  /** How many bytes it reads at least, because it had just stopped when it was needed again; where it may stop. */
  let stay = 0;
  let stayTo = -1;
  let steps = 0;
  /** Reads `bytes[from, to)`; from `leave` on, it may stop. Gives where it did. */
  function readOn(
    bytes: Uint8Array,
    view: DataView | undefined,
    from: number,
    to: number,
    position: number,
    leave: number,
  ): number {
    for (let at = from; at < to; ) {
      const byte = bytes[at]!;
      if (!decoder.rests()) {
        decoder.feed(byte, position + at, position + at + 1, false);
        at++;
      } else if (begins[byte] === 1) {
        at = readEscape(bytes, at, to, position);
      } else {
        // Where it may stop soon, it is not to read on for long.
        const end = characters.takeRun(
          bytes,
          view,
          at,
          Math.min(to, Math.max(leave, at + plainly)),
          position,
        );
        if (end === at) characters.take(byte, position + at, position + ++at, false);
        else at = end;
      }
      if (at < leave || !characters.isIdle(position + at)) continue;
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

  /** Takes the escape at `at`, or its first byte if it is none of the usual ones. */
  function readEscape(bytes: Uint8Array, at: number, to: number, position: number): number {
    const found = wholeEscape(bytes, at, to);
    const start = position + at;
    if (found < 0) {
      decoder.feed(bytes[at]!, start, start + 1, false);
      return at + 1;
    }
    const length = found >> LENGTH_SHIFT;
    if ((found & (ITSELF | SOFT | BARE)) === 0) characters.take(found & BYTE, start, start + length, true);
    else if (found & ITSELF) characters.take(found & BYTE, start, start + 1, false);
    else if (found & BARE) characters.take(found & BYTE, start + length - 1, start + length, true);
    else characters.take(-1, start, start, true);
    return at + length;
  }

  function begin(previous: number, letters: number) {
    decoder.reset();
    characters.begin(matcher!, previous, letters, recentBytes);
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
      let at = engaged ? readOn(bytes, view, 0, length, position, Math.max(0, stayTo - position)) : 0;
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
        if (!dump && !glance(hints, bytes, byteAt, trigger)) {
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
        if (from < 0) readOn(history.bytes(), undefined, past + from, past, position - past, never);
        stay = position + trigger - readTo < worthStaying ? Math.min(stay + worthStaying, longestStay) : 0;
        const leave = trigger + 1 + (dump ? 1 : 0) + stay;
        stayTo = position + leave;
        at = readOn(bytes, view, Math.max(from, 0), length, position, leave);
        if (at === length) return;
      }
    },
    heldFrom(position) {
      if (!engaged) return position;
      return Math.min(decoder.pending() ?? position, characters.heldFrom(position));
    },
    replay(given, bytes, position) {
      matcher = given;
      begin(-1, 0);
      readOn(bytes, undefined, 0, bytes.length, position, never);
    },
    steps: () => steps,
    end() {
      if (!engaged) return;
      decoder.end();
      characters.end(readTo);
    },
    reset() {
      decoder.wipe();
      characters.wipe();
      engaged = false;
      readTo = -1;
    },
  };
}
