// Hides secret values in byte streams. Needs nothing but itself.
//
//   const scrubber = createScrubber([new TextEncoder().encode("hunter2-hunter2")]);
//   const stream = scrubber.stream();
//   for await (const chunk of process.stdin) process.stdout.write(stream.push(chunk));
//   process.stdout.write(stream.end());
//
// A byte is hidden if and only if some occurrence of some pattern covers it, and each longest run of hidden
// bytes becomes one "***". Held back is the longest suffix of the stream that is a proper prefix of some
// pattern, never more, never less. Time is linear in the stream, whatever the patterns and the text.
//
//   values ─ forms.ts ─→ patterns ─ matcher.ts ─→ automaton.ts + filter.ts      compiled once, shared
//   chunk ─ reader.ts (search.ts, tail.ts) ─→ hits ─ stream.ts (runs.ts) ─→ chunk       one a stream
//               └─ dressed.ts (triggers.ts, glance.ts; escapes.ts, whole-escapes.ts ─→ characters.ts, breaks.ts)

import { isSpace } from "./bytes.ts";
import { spellings } from "./forms.ts";
import { trimSpace } from "./lines.ts";
import { compile, type Pattern } from "./matcher.ts";
import { type Current, createReader } from "./reader.ts";
import { createStream, type ScrubStream } from "./stream.ts";

export type { ScrubStream } from "./stream.ts";

export interface ScrubberOptions {
  /**
   * true (default): the values are searched in all forms of forms.ts. false: they are literal patterns of any
   * length, white space and all.
   */
  readonly forms?: boolean;
  /**
   * What to do about a value of 1 to 3 bytes, which cannot be hidden without wrecking the output: refuse it
   * (default) or leave it out of the search.
   */
  readonly shortValues?: "refuse" | "show";
  /** Further values, searched as they are and in no other form. In a hit's count they follow the first values. */
  readonly literals?: readonly Uint8Array[];
}

/** Where a value was found, counted in bytes from the stream's start. */
export interface Hit {
  readonly start: number;
  /** First byte after it. */
  readonly end: number;
  /** Index of the value, in the order they were given to createScrubber() and add(). */
  readonly value: number;
}

/** Finds instead of hiding. */
export interface Finder {
  /** Hits that end in this chunk, by their ends; of several that end at one place, the longest. */
  push(chunk: Uint8Array): Hit[];
}

/** A compiled set of values. As a stream, it is the first of its own streams. */
export interface Scrubber extends ScrubStream {
  /** A further stream, with state of its own. */
  stream(): ScrubStream;
  /** The same as a web transform stream, which ends its scrubbing when it is closed. */
  transform(): TransformStream<Uint8Array, Uint8Array>;
  /** Length of the longest spelling that is searched, in bytes; escapes and white space come on top. */
  readonly longest: number;
  /** All hits in `bytes`. */
  find(bytes: Uint8Array): Hit[];
  /** The same for bytes that come in chunks. */
  finder(): Finder;
  /**
   * Adds values, also for streams that are under way: of bytes that are still held back, nothing is lost. All
   * or nothing: throws a ScrubberError and adds none if one is refused.
   */
  add(values: readonly Uint8Array[]): void;
  /** Zeroes the values and what was compiled from them. The scrubber and its streams are of no use then. */
  wipe(): void;
}

/** Says which value was refused, never what it is. */
export class ScrubberError extends Error {
  override readonly name = "ScrubberError";
  readonly code: "secret_too_short";
  /** Index of the value in the call that was refused. */
  readonly index: number;

  constructor(code: "secret_too_short", index: number, message: string) {
    super(message);
    this.code = code;
    this.index = index;
  }
}

/** Shortest value that is searched, in bytes, without the white space around it. */
const shortest = 4;

/** Values are bytes and are copied. Throws a ScrubberError if one is refused. */
export function createScrubber(values: readonly Uint8Array[], options: ScrubberOptions = {}): Scrubber {
  const withForms = options.forms ?? true;
  const patterns: Pattern[] = [];
  let count = 0;
  let blanks = false;

  function expand(added: readonly Uint8Array[]): Pattern[] {
    return added.flatMap((value, index) => {
      const owner = count + index;
      if (!withForms) return [{ bytes: new Uint8Array(value), owner }];
      const trimmed = trimSpace(value);
      if (trimmed.length === 0) return [];
      if (trimmed.length < shortest) {
        if (options.shortValues === "show") return [];
        throw new ScrubberError(
          "secret_too_short",
          index,
          `value ${index} is shorter than ${shortest} bytes and cannot be hidden`,
        );
      }
      blanks ||= trimmed.some(isSpace);
      return spellings(new Uint8Array(trimmed)).map((bytes) => ({ bytes, owner }));
    });
  }

  patterns.push(...expand(values));
  count = values.length;
  for (const literal of options.literals ?? [])
    patterns.push({ bytes: new Uint8Array(literal), owner: count++ });
  const current: Current = { matcher: compile(patterns, withForms, blanks) };
  let own: ScrubStream | undefined;
  const first = () => (own ??= createStream(current));

  function finder(): Finder {
    let hits: Hit[] = [];
    /** Values of which the hits so far were reported. */
    let known = count;
    let again = false;
    const reader = createReader(current, {
      every: true,
      onHit(start, end, pattern) {
        const value = current.matcher.owners[pattern]!;
        if (!again || value >= known) hits.push({ start, end, value });
      },
      onAgain() {
        again = true;
      },
    });
    return {
      push(chunk) {
        hits = [];
        reader.refresh();
        again = false;
        known = count;
        reader.read(chunk);
        reader.keep(chunk);
        return hits;
      },
    };
  }

  return {
    push: (chunk) => first().push(chunk),
    flush: () => first().flush(),
    end: () => first().end(),
    stream: () => createStream(current),
    transform() {
      const stream = createStream(current);
      const pass = (bytes: Uint8Array, controller: TransformStreamDefaultController<Uint8Array>) => {
        if (bytes.length > 0) controller.enqueue(bytes);
      };
      return new TransformStream<Uint8Array, Uint8Array>({
        transform: (chunk, controller) => pass(stream.push(chunk), controller),
        flush: (controller) => pass(stream.end(), controller),
      });
    },
    get longest() {
      return current.matcher.automaton.lengths.reduce((a, b) => Math.max(a, b), 0);
    },
    find: (bytes) => finder().push(bytes),
    finder,
    add(added) {
      patterns.push(...expand(added));
      count += added.length;
      const before = current.matcher;
      current.matcher = compile(patterns, withForms, blanks);
      before.wipe();
    },
    wipe() {
      for (const { bytes } of patterns) bytes.fill(0);
      patterns.length = 0;
      current.matcher.wipe();
      current.matcher = compile([], false);
    },
  };
}
