// What must hold for every set of secrets and every text, drawn with fast-check; test/fuzz plays the same games
// by the million. MUTATIONS.md says which of these tests each deliberate mistake turned red.

import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createDressed, recentBytes } from "../../../executor/scrub/dressed.ts";
import { viewOf } from "../../../executor/scrub/filter.ts";
import { spellings } from "../../../executor/scrub/forms.ts";
import { compile } from "../../../executor/scrub/matcher.ts";
import { createScrubber } from "../../../executor/scrub/scrubber.ts";
import { newCursor, search } from "../../../executor/scrub/search.ts";
import { createTail } from "../../../executor/scrub/tail.ts";
import { draw } from "../../fuzz/draw.ts";
import { type Game, type Move, play } from "../../fuzz/game.ts";

const bytes = (text: string) => Buffer.from(text, "latin1");

function fibonacci(length: number): string {
  let [a, b] = ["a", "ab"];
  while (b.length < length) [a, b] = [b, b + a];
  return b.slice(0, length);
}

/** Words over one alphabet of 1 to 256 letters, or periodic, or parts of the Fibonacci word. */
const wordMaker: fc.Arbitrary<(min: number, max: number) => fc.Arbitrary<string>> = fc.constantFrom(
  ...["a", "ab", "abc", "abcd", "abcdefghijklmnopqrstuvwxyz"].map(
    (letters) => (minLength: number, maxLength: number) =>
      fc.string({ unit: fc.constantFrom(...letters), minLength, maxLength }),
  ),
  (minLength, maxLength) =>
    fc.uint8Array({ minLength, maxLength }).map((array) => Buffer.from(array).toString("latin1")),
  (min, max) =>
    fc
      .tuple(
        fc.constantFrom("ab", "aab", "abc", "abab"),
        fc.integer({ min, max }),
        fc.nat(3),
        fc.constantFrom("", "x"),
      )
      .map(([period, length, from, tail]) => period.repeat(length).slice(from, from + length) + tail),
  (min, max) =>
    fc
      .tuple(fc.integer({ min, max }), fc.nat(8))
      .map(([length, from]) => fibonacci(60).slice(from, from + length)),
);

/** Secrets, and a text made of words and parts of the secrets. */
const material = fc.tuple(wordMaker, fc.constantFrom(1, 2, 4, 5, 8, 12)).chain(([words, shortest]) =>
  fc.array(words(shortest, shortest + 12), { minLength: 1, maxLength: 6 }).chain((secrets) => {
    const part = fc
      .tuple(fc.constantFrom(...secrets), fc.nat(2), fc.nat(2))
      .map(([secret, from, to]) => secret.slice(from, secret.length - to));
    const text = fc.array(fc.oneof(words(1, 10), part), { maxLength: 10 }).map((parts) => parts.join(""));
    return fc.record({
      secrets: fc.constant(secrets),
      text,
      late: fc.array(words(shortest, 12), { maxLength: 2 }),
    });
  }),
);

function cutAt(text: string, cuts: readonly number[]): Move[] {
  const places = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b);
  return [...places, text.length].map((to, i) => ["push", text.slice(places[i - 1] ?? 0, to)]);
}

const cuts = fc.array(fc.nat(), { maxLength: 12 });

describe("a game against the oracle is never lost", () => {
  const lost = (game: Game) => {
    expect(play(game)).toBeUndefined();
  };

  test("output so far is the oracle's, cut where the longest proper prefix begins", () => {
    fc.assert(
      fc.property(material, cuts, ({ secrets, text }, where) =>
        lost({ mode: "patterns", secrets, moves: cutAt(text, where) }),
      ),
      { numRuns: 3000 },
    );
  });

  test("byte by byte", () => {
    fc.assert(
      fc.property(material, ({ secrets, text }) =>
        lost({ mode: "patterns", secrets, moves: [...text].map((byte) => ["push", byte]) }),
      ),
      { numRuns: 1000 },
    );
  });

  test("in chunks that are large enough to be read by words", () => {
    const large = fc.tuple(wordMaker, fc.constantFrom(4, 5, 8, 12)).chain(([words, shortest]) => {
      const secrets = fc.array(words(shortest, shortest + 12), { minLength: 1, maxLength: 4 });
      const gaps = fc.array(fc.tuple(fc.nat(40), fc.nat(3)), { minLength: 60, maxLength: 80 });
      return fc.tuple(secrets, gaps, fc.nat(63));
    });
    fc.assert(
      fc.property(large, ([secrets, gaps, salt]) => {
        const text = gaps.map(
          ([gap, which]) => ".,:;-".repeat(9).slice(salt % 5, gap) + (secrets[which] ?? "~"),
        );
        lost({ mode: "patterns", secrets, moves: [["push", text.join("").padEnd(1100, "#")]] });
      }),
      { numRuns: 300 },
    );
  });

  test("in such chunks, with a byte that differs in one bit", () => {
    const secret = "correct-horse-battery-staple";
    for (let at = 0; at < secret.length; at++) {
      for (let bit = 1; bit < 256; bit *= 2) {
        const differing = String.fromCharCode(secret.charCodeAt(at) ^ bit);
        const text = `.${secret.slice(0, at)}${differing}${secret.slice(at + 1)}.`;
        lost({ mode: "patterns", secrets: [secret, "correct-"], moves: [["push", text.padEnd(1100, "#")]] });
      }
    }
  });

  test("with more hits in a chunk than are reported at a time", () => {
    lost({ mode: "patterns", secrets: ["abcd"], moves: [["push", "abcd.".repeat(5000)]] });
  });

  test("with a flush here and there", () => {
    fc.assert(
      fc.property(material, cuts, fc.array(fc.boolean()), ({ secrets, text }, where, flushes) => {
        const moves = cutAt(text, where).flatMap<Move>((move, i) =>
          flushes[i] ? [move, ["flush"]] : [move],
        );
        lost({ mode: "patterns", secrets, moves });
      }),
      { numRuns: 2000 },
    );
  });

  test("with values that join", () => {
    fc.assert(
      fc.property(material, cuts, fc.nat(), ({ secrets, text, late }, where, when) => {
        const moves: Move[] = cutAt(text, where);
        moves.splice(when % (moves.length + 1), 0, ["add", late]);
        lost({ mode: "patterns", secrets, moves });
      }),
      { numRuns: 2000 },
    );
  });

  test("a second stream after end() starts afresh", () => {
    fc.assert(
      fc.property(material, cuts, ({ secrets, text }, where) =>
        lost({ mode: "patterns", secrets, moves: [...cutAt(text, where), ["end"], ...cutAt(text, where)] }),
      ),
      { numRuns: 500 },
    );
  });

  test("the first games of the fuzz job", () => {
    for (let seed = 0; seed < 3000; seed++) expect(play(draw(seed)), `seed ${seed}`).toBeUndefined();
  });

  test("values in every dress, in all sorts of chunks", () => {
    for (let seed = 0; seed < 64 * 1500; seed += 64) expect(play(draw(seed)), `seed ${seed}`).toBeUndefined();
  });

  const corpus = new URL("../../fuzz/corpus/", import.meta.url);
  const finds = readdirSync(corpus).filter((name) => name.endsWith(".json"));
  test.each(finds)("corpus: %s", (name) => lost(JSON.parse(readFileSync(new URL(name, corpus), "utf8"))));
});

function scrub(secrets: readonly string[], text: string): string {
  const scrubber = createScrubber(secrets.map(bytes), { forms: false });
  return Buffer.concat([scrubber.push(bytes(text)), scrubber.end()]).toString("latin1");
}

test("of several failures the nearest decides", () => {
  // After "zabc", x continues both "abc" and "c". The secret of one byte keeps the filter from leaving the "z" out.
  const secrets = ["zabcp-longer", "zabcq-longer", "abcx1-tail", "bcy-other1", "cx-another", "!"];
  expect(scrub(secrets, "zabcx1-tail")).toBe("z***");
});

test("what the automaton gives back to the filter holds no hit that would be found twice", () => {
  const digits = "0123456789".repeat(5);
  const secrets = ["abcd", "xabcdyyyyy", "xabcdwwwww", `${digits}xabcdzzzzz`];
  const found = createScrubber(secrets.map(bytes), { forms: false }).find(
    bytes(`${digits}xabcdyQ${".".repeat(20)}`),
  );
  expect(found).toEqual([{ start: 51, end: 55, value: 0 }]);
});

test("runs that touch show one mask, also if the second becomes certain later", () => {
  const scrubber = createScrubber(["abcd", "efgh"].map(bytes), { forms: false });
  const out = ["-abcd", "efgh-abcdef"].map((chunk) => scrubber.push(bytes(chunk)));
  expect(Buffer.concat([...out, scrubber.end()]).toString()).toBe("-***-***ef");
});

test("no secret is in the output", () => {
  fc.assert(
    fc.property(material, ({ secrets, text }) => {
      const out = scrub(secrets, text);
      // Between two masks there may only be what was between two runs.
      for (const part of out.split("***"))
        for (const secret of secrets) if (secret) expect(part).not.toContain(secret);
    }),
    { numRuns: 1000 },
  );
});

test("one more secret never shows more", () => {
  fc.assert(
    fc.property(material, ({ secrets, text }) => {
      // Positions of hidden bytes, by a text in which they can be told apart.
      const hidden = (given: readonly string[]) => {
        const positions = new Set<number>();
        for (const { start, end } of createScrubber(given.map(bytes), { forms: false }).find(bytes(text))) {
          for (let i = start; i < end; i++) positions.add(i);
        }
        return positions;
      };
      const more = hidden(secrets);
      for (const position of hidden(secrets.slice(1))) expect(more).toContain(position);
    }),
    { numRuns: 1000 },
  );
});

test("a clean chunk comes back itself, not a copy", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 3000 }), (chunk) => {
      const clean = chunk.map((byte) => byte & 0x7f);
      expect(createScrubber([Uint8Array.of(200, 201, 202, 203, 204)], { forms: false }).push(clean)).toBe(
        clean,
      );
    }),
  );
});

test("find() gives the ends of all occurrences, with the longest value that ends there", () => {
  fc.assert(
    fc.property(material, fc.integer({ min: 1, max: 9 }), ({ secrets, text }, size) => {
      const finder = createScrubber(secrets.map(bytes), { forms: false }).finder();
      const got = [];
      for (let at = 0; at < text.length; at += size)
        got.push(...finder.push(bytes(text.slice(at, at + size))));
      const wanted = [];
      for (let end = 1; end <= text.length; end++) {
        const ending = secrets.filter((secret) => text.slice(0, end).endsWith(secret));
        ending.sort((a, b) => b.length - a.length);
        const [longest] = ending;
        if (longest) wanted.push({ start: end - longest.length, end, value: secrets.indexOf(longest) });
      }
      expect(got).toEqual(wanted);
    }),
    { numRuns: 2000 },
  );
});

describe("the search of dressed values is linear: at most 2 steps a byte, however long the text is", () => {
  const secrets = [
    "a&a&a&a&a&a&b",
    "correct horse battery",
    "AAAAAAAAAAAAAAAAAAAAAAAA",
    "%%41aa\\\\x",
    "QUJDREVGR0hJSktM",
  ];
  const patterns = secrets.flatMap((secret, owner) =>
    spellings(bytes(secret)).map((spelled) => ({ bytes: spelled, owner })),
  );

  function stepsOf(text: Uint8Array, chunk: number): number {
    const matcher = compile(patterns, true, true);
    const dressed = createDressed(() => {});
    const history = createTail();
    for (let at = 0; at < text.length; at += chunk) {
      const part = text.subarray(at, at + chunk);
      dressed.read(matcher, part, viewOf(part), at, history);
      history.keep(part, Math.min(recentBytes, at + part.length));
    }
    return dressed.steps();
  }

  test.each([
    ["ampersands that begin nothing", "&a"],
    ["entities", "&#65;"],
    ["entities that end otherwise", "&#65!"],
    ["percents", "%"],
    ["halves of escapes", "%4"],
    ["escapes of a secret's letter", "%41"],
    ["nested escapes", "%2541"],
    ["backslashes", "\\"],
    ["escapes by number", "\\u0041"],
    ["line breaks", "\n"],
    ["blanks and line breaks", " \n\t"],
    ["wrapped base64", "QUJDREVGR0hJSktMTU5P\n"],
    ["short lines of a secret's letters", "AAAAAAAA\n"],
    ["a dump", "00000000: 4141 4141 4141 4141 4141 4141 4141 4141  AAAAAAAAAAAAAAAA\n"],
    ["parts of a secret", "correct  horse  batter\n"],
  ])("%s", (_, part) => {
    for (const chunk of [1, 64, 4096]) {
      for (const size of [4_000, 8_000, 16_000, 32_000]) {
        const text = bytes(part.repeat(Math.ceil(size / part.length)));
        expect(stepsOf(text, chunk)).toBeLessThan(2 * text.length + 64);
      }
    }
  });
});

describe("work is linear: at most 5 basic steps a byte", () => {
  function stepsPerByte(secrets: readonly string[], text: Uint8Array, chunk = 4096): number {
    const patterns = secrets.map((secret, owner) => ({ bytes: bytes(secret), owner }));
    const { automaton, filters } = compile(patterns, false);
    const cursor = newCursor();
    for (let at = 0; at < text.length; at += chunk) {
      const part = text.subarray(at, at + chunk);
      search(automaton, filters, cursor, part, viewOf(part), 0, part.length, true, () => {});
    }
    return cursor.steps / text.length;
  }

  const long = 20_000;
  const a = "a".repeat(long);
  const rows: [name: string, secrets: string[], text: string][] = [
    [
      "one letter, secrets that end otherwise",
      Array.from({ length: 50 }, (_, i) => `${"a".repeat(16 + i)}b`),
      a,
    ],
    ["one letter, secrets of it", ["aaaa", "aaaaaaaa", "a".repeat(100)], a],
    ["secrets without their last byte", ["correct-horse-battery"], "correct-horse-batter".repeat(1000)],
    [
      "first and last gram of a window, and nothing between",
      ["abcdefghijklmnop"],
      "abcd........mnop".repeat(1000),
    ],
    ["first half of a secret", ["abcdefghijklmnop"], "abcdefgh".repeat(2500)],
    ["first bytes, then the window's last", ["abcdxxxxxxxxxxxxxabc"], "abcdxxxxxxxxxxxxxab".repeat(1000)],
    ["Fibonacci", [`${fibonacci(89)}X`, `${fibonacci(55)}Y`, `b${fibonacci(34)}Z`], fibonacci(long)],
    ["period 3", ["abcabcabcabcabd", "bcabcabcabcabcx"], "abc".repeat(6000)],
    ["short ones", ["abab", "babb", "aaab"], "aabab".repeat(4000)],
    ["short and long ones", ["abab", "abcdefghijklmnop"], "ababcdefghijklmn".repeat(1000)],
  ];

  test.each(rows)("%s", (_, secrets, text) => {
    for (const chunk of [1, 64, 4096, long])
      expect(stepsPerByte(secrets, bytes(text), chunk)).toBeLessThan(5);
  });

  test("whatever is drawn", () => {
    fc.assert(
      fc.property(material, ({ secrets, text }) => {
        fc.pre(text.length > 0);
        const repeated = bytes(text.repeat(Math.ceil(2000 / text.length)));
        expect(stepsPerByte(secrets, repeated)).toBeLessThan(5);
      }),
      { numRuns: 500 },
    );
  });
});
