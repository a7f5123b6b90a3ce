// What callers of the scrubber rely on besides the bytes.

import { describe, expect, test } from "vitest";
import { createScrubber, ScrubberError } from "../../../../executor/scrub/scrubber.ts";

const bytes = (text: string) => Buffer.from(text);
const text = (...parts: Uint8Array[]) => Buffer.concat(parts).toString();
const secret = "s3cr3t-value-1234";

test("stdout and stderr share the patterns and nothing else", () => {
  const scrubber = createScrubber([bytes(secret)]);
  const [out, err] = [scrubber.stream(), scrubber.stream()];
  expect(text(out.push(bytes("a s3cr3t-")))).toBe("a ");
  expect(text(err.push(bytes("value-1234")))).toBe("value-1234");
  expect(text(out.push(bytes("value-1234 b")))).toBe("*** b");
});

test("a chunk that ends in a held prefix is passed on as a view", () => {
  const chunk = bytes("no copy s3c");
  const out = createScrubber([bytes(secret)]).push(chunk);
  expect(text(out)).toBe("no copy ");
  expect(out.buffer).toBe(chunk.buffer);
  expect(out.byteOffset).toBe(chunk.byteOffset);
});

test("what is held is a copy: the caller may use its buffer again", () => {
  const scrubber = createScrubber([bytes(secret)]);
  const chunk = bytes("x s3c");
  scrubber.push(chunk);
  chunk.fill(0);
  expect(text(scrubber.push(bytes("urity")))).toBe("s3curity");
});

test.each([true, false])("values are copied, too (forms: %j)", (forms) => {
  const value = bytes("late-value-1234567");
  const scrubber = createScrubber([value], { forms });
  value.fill(0);
  scrubber.add([]);
  expect(text(scrubber.push(bytes("late-value-1234567")))).toBe("***");
});

test("as a web transform stream", async () => {
  const source = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of ["a s3cr3t-", "value-1234", "", " b s3cr3t"]) controller.enqueue(bytes(chunk));
      controller.close();
    },
  });
  const parts: Uint8Array[] = [];
  for await (const part of source.pipeThrough(createScrubber([bytes(secret)]).transform())) parts.push(part);
  expect(text(...parts)).toBe("a *** b ***");
  expect(parts.every((part) => part.length > 0)).toBe(true);
});

test("a long secret byte by byte", () => {
  const long = "0123456789abcdef".repeat(4000);
  const scrubber = createScrubber([bytes(long)], { forms: false });
  let out = "";
  for (const byte of bytes(`<${long}>${long.slice(0, -1)}!`)) out += text(scrubber.push(Uint8Array.of(byte)));
  expect(out).toBe(`<***>${long.slice(0, -1)}!`);
});

describe("short values", () => {
  test.each(["x", "ab", "abc", " abc\n"])("%j is refused, with its index and without the value", (value) => {
    const refused = () => createScrubber([bytes(secret), bytes(value)]);
    expect(refused).toThrow(ScrubberError);
    expect(refused).toThrow(expect.objectContaining({ code: "secret_too_short", index: 1 }));
    expect(refused).not.toThrow(value.trim());
  });

  test("are shown if that is what the user wants, others still hidden", () => {
    const scrubber = createScrubber([bytes("abc"), bytes(secret)], { shortValues: "show" });
    expect(text(scrubber.push(bytes(`abc ${secret}`)))).toBe("abc ***");
    expect(scrubber.find(bytes(secret))).toEqual([{ start: 0, end: 17, value: 1 }]);
  });

  test("empty values are legal and searched for nowhere", () => {
    expect(text(createScrubber([bytes(""), bytes(" \n")]).push(bytes("a \n b")))).toBe("a \n b");
  });

  test("add() of one that is refused adds none", () => {
    const scrubber = createScrubber([]);
    expect(() => scrubber.add([bytes(secret), bytes("ab")])).toThrow(ScrubberError);
    expect(text(scrubber.push(bytes(secret)))).toBe(secret);
    scrubber.add([bytes("other-value")]);
    expect(scrubber.find(bytes("other-value"))).toEqual([{ start: 0, end: 11, value: 0 }]);
  });
});

describe("find", () => {
  test("says which value, also for one that was encoded", () => {
    const scrubber = createScrubber([bytes("first-value"), bytes("second-value")]);
    const document = `x ${Buffer.from("second-value").toString("hex")} first-value`;
    expect(scrubber.find(bytes(document))).toEqual([
      { start: 2, end: 26, value: 1 },
      { start: 27, end: 38, value: 0 },
    ]);
  });

  test("goes on across chunks, and over to values that join", () => {
    const scrubber = createScrubber([bytes("first-value")]);
    const finder = scrubber.finder();
    expect(finder.push(bytes("a first-va"))).toEqual([]);
    scrubber.add([bytes("rst-va"), bytes("value-of-another")]);
    expect(finder.push(bytes("lue-of-another"))).toEqual([
      { start: 4, end: 10, value: 1 },
      { start: 2, end: 13, value: 0 },
      { start: 8, end: 24, value: 2 },
    ]);
  });
});

test("a finder reports a hit once, also if values join while it is held", () => {
  const scrubber = createScrubber([bytes("abcd"), bytes("abcdefgh")], { forms: false });
  const finder = scrubber.finder();
  expect(finder.push(bytes("abcd"))).toEqual([{ start: 0, end: 4, value: 0 }]);
  scrubber.add([bytes("bc")]);
  scrubber.add([bytes("fg")]);
  expect(finder.push(bytes("efgh"))).toEqual([
    { start: 1, end: 3, value: 2 },
    { start: 5, end: 7, value: 3 },
    { start: 0, end: 8, value: 1 },
  ]);
});

describe("values that join", () => {
  test("hide what is still held", () => {
    const scrubber = createScrubber([bytes("abcdefgh-long-value")]);
    expect(text(scrubber.push(bytes("x abcdefgh-")))).toBe("x ");
    scrubber.add([bytes("fgh-joined")]);
    expect(text(scrubber.push(bytes("joined y")))).toBe("abcde*** y");
  });

  test("in all streams at once", () => {
    const scrubber = createScrubber([]);
    const streams = [scrubber.stream(), scrubber.stream()];
    scrubber.add([bytes(secret)]);
    for (const stream of streams) expect(text(stream.push(bytes(secret)))).toBe("***");
  });

  test("do not make a run that has begun show a second mask", () => {
    const scrubber = createScrubber([bytes("abcdef"), bytes("defghi")]);
    expect(text(scrubber.push(bytes("abcdef")))).toBe("***");
    scrubber.add([bytes("another-value")]);
    expect(text(scrubber.push(bytes("gh!")))).toBe("gh!");
  });

  test("also where base64 is wrapped and the line break is held", () => {
    const value = "correct-horse-battery-staple";
    const wrapped = Buffer.from(`${"x".repeat(50)}${value}`).toString("base64");
    const scrubber = createScrubber([bytes(value)]);
    expect(text(scrubber.push(bytes(`${wrapped.slice(0, 76)}\r`)))).toBe(wrapped.slice(0, 67));
    scrubber.add([bytes("another-value")]);
    expect(text(scrubber.push(bytes(`\n${wrapped.slice(76)}`)), scrubber.end())).toBe("***");
  });
});

test("wipe() leaves nothing of the values in the tables", () => {
  const scrubber = createScrubber([bytes(secret)]);
  scrubber.wipe();
  expect(text(scrubber.push(bytes(secret)))).toBe(secret);
});

test("wipe() zeroes every array of bytes that was ever made of a value", () => {
  const value = bytes(' it\'s "ä"\r\n-----BEGIN KEY-----\r\nother-line?~~~>>> ');
  const made: Uint8Array[] = [];
  const original = globalThis.Uint8Array;
  const recording: Uint8ArrayConstructor = new Proxy(original, {
    construct(target, given) {
      made.push(Reflect.construct(target, given));
      return made.at(-1)!;
    },
  });
  globalThis.Uint8Array = recording;
  // For slice() and subarray().
  original.prototype.constructor = recording;
  try {
    const scrubber = createScrubber([value, bytes(secret)]);
    scrubber.add([bytes("another-value")]);
    scrubber.wipe();
  } finally {
    globalThis.Uint8Array = original;
    original.prototype.constructor = original;
  }
  expect(made.length).toBeGreaterThan(100);
  const left = made.filter(({ buffer }) => buffer !== value.buffer).filter((array) => array.some(Boolean));
  expect(left).toEqual([]);
});

test("literals are hidden as they are, and in no other form", () => {
  const literal = new TextEncoder().encode("a-token.of-letters");
  const scrubber = createScrubber([new TextEncoder().encode("guessme")], { literals: [literal] });
  const text = `guessme a-token.of-letters ${btoa("a-token.of-letters")}`;
  const shown = new TextDecoder().decode(scrubber.push(new TextEncoder().encode(`${text}\n`)));
  expect(shown).toBe(`*** *** ${btoa("a-token.of-letters")}\n`);
  expect(scrubber.find(literal)).toEqual([{ start: 0, end: literal.length, value: 1 }]);
});
