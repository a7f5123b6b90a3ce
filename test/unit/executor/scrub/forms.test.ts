// What real programs print of a value, one form at a time, then round trips through encoders that are not ours.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { spellings } from "../../../../executor/scrub/forms.ts";
import { createScrubber } from "../../../../executor/scrub/scrubber.ts";

function scrub(value: string | Uint8Array, text: string): string {
  const scrubber = createScrubber([Buffer.from(value as string)]);
  return Buffer.concat([scrubber.push(Buffer.from(text)), scrubber.end()]).toString();
}

/** Form, value, what was printed (and by what), what is left of it. */
const printed: [form: string, value: string, text: string, left: string][] = [
  // printf 'first-line\r\nsecond-line' of a value that was stored with LF
  ["line breaks as LF and CRLF", "1-line\n2-line\n3", "a 1-line\r\n2-line\r\n3 b", "a *** b"],
  ["line breaks as LF and CRLF", "1-line\r\n2-line\r\n3", "a 1-line\n2-line\n3 b", "a *** b"],
  // sed -n 2p
  ["each line alone", "user: me\n  pass: swordfish\n", "x pass: swordfish", "x ***"],
  ["each line alone", "user: me\nshort\nother-line", "short", "short"],
  // printf 'id:hunter2-hunter2!' | base64
  ["base64", "hunter2-hunter2", "aWQ6aHVudGVyMi1odW50ZXIyIQ==", "aWQ6***IQ=="],
  // printf 'hunter2-hunter22' | base64
  ["base64", "hunter2-hunter22", "aHVudGVyMi1odW50ZXIyMg==", "***"],
  // python3 -c 'import base64; print(base64.urlsafe_b64encode(b"~~~???>>>\xff\xfe"))', and the same without padding
  ["base64url", "~~~???>>>~~", "fn5-Pz8_Pj4-fn4=", "***"],
  ["base64url", "~~~???>>>~~", "fn5-Pz8_Pj4-fn4", "***"],
  // printf hunter2 | xxd -p; Go's %X
  ["hex", "hunter2z", "68756e746572327a", "***"],
  ["hex", "hunter2z", "68756E746572327A", "***"],
  // jq @uri; Go url.QueryEscape; URLSearchParams; old PHP's urlencode; encodeURIComponent; encodeURI; Python quote; lower-case digits
  ["percent-encoding", "p@ss/w*rd~ x", "p%40ss%2Fw%2Ard~%20x", "***"],
  ["percent-encoding", "p@ss/w*rd~ x", "p%40ss%2Fw%2Ard~+x", "***"],
  ["percent-encoding", "p@ss/w*rd~ x", "p%40ss%2Fw*rd%7E+x", "***"],
  ["percent-encoding", "p@ss/w*rd~ x", "p%40ss%2Fw%2Ard%7E+x", "***"],
  ["percent-encoding", "p@ss/w*rd~ x", "p%40ss%2Fw*rd~%20x", "***"],
  ["percent-encoding", "p@ss/w*rd~ x", "p@ss/w*rd~%20x", "***"],
  ["percent-encoding", "p@ss/w*rd~ x", "p%40ss/w%2Ard~%20x", "***"],
  ["percent-encoding", "p@ss/w*rd~ x", "p%40ss%2fw%2ard~%20x", "***"],
  // encodeURI of a value in which `%%` stands before two hex digits
  ["percent-encoding", "Qqa%%aa qQ", "Qqa%25%25aa%20qQ", "***"],
  ["percent-encoding", "Qqa%%aa qQ", "x=Qqa%25%25aa%20qQ&y", "x=***&y"],
  // what only one of them does: jq @uri, encodeURIComponent, Go url.PathEscape
  ["percent-encoding", "p$s!/w rd", "p%24s%21%2Fw%20rd", "***"],
  ["percent-encoding", "p$s!/w rd", "p%24s!%2Fw%20rd", "***"],
  ["percent-encoding", "p@s:/w rd", "p@s:%2Fw%20rd", "***"],
  // the password in new URL("https://…").href, and in Go's url.UserPassword
  ["percent-encoding", "p@ss/w$rd(1)", "https://me:p%40ss%2Fw$rd(1)@host/", "https://me:***@host/"],
  ["percent-encoding", "p@ss/w$rd(1)", "https://me:p%40ss%2Fw$rd%281%29@host/", "https://me:***@host/"],
  // JSON.stringify; PHP; Python; Go; Gson; System.Text.Json; JSON in JSON
  ["JSON string", 'a"b\\c/d\te', '{"k":"a\\"b\\\\c/d\\te"}', '{"k":"***"}'],
  ["JSON string", 'a"b\\c/d\te', '{"k":"a\\"b\\\\c\\/d\\te"}', '{"k":"***"}'],
  ["JSON string", "schlüssel-1", '{"k":"schl\\u00fcssel-1"}', '{"k":"***"}'],
  ["JSON string", "schlüssel-1", '{"k":"schl\\u00FCssel-1"}', '{"k":"***"}'],
  ["JSON string", "a<b>&c-longer", '{"k":"a\\u003cb\\u003e\\u0026c-longer"}', '{"k":"***"}'],
  ["JSON string", "base64ish==", '{"k":"base64ish\\u003d\\u003d"}', '{"k":"***"}'],
  ["JSON string", 'it\'s+"x"y', '{"k":"it\\u0027s\\u002B\\u0022x\\u0022y"}', '{"k":"***"}'],
  ["JSON string", 'say "hello"', '"{\\"k\\":\\"say \\\\\\"hello\\\\\\"\\"}"', '"{\\"k\\":\\"***\\"}"'],
  ["JSON string", "line\u2028sep-x", '{"k":"line\\u2028sep-x"}', '{"k":"***"}'],
  // bash -x; dash -x and shlex.quote
  ["shell '…'", "it's-a-secret", "+ echo 'it'\\''s-a-secret'", "+ echo '***'"],
  ["shell '…'", "it's-a-secret", "+ echo 'it'\"'\"'s-a-secret'", "+ echo '***'"],
  // set in bash; declare -p
  ['shell "…"', "a$b`c`d|ef gh", 'declare -- X="a\\$b\\`c\\`d|ef gh"', 'declare -- X="***"'],
  // printf %q with a control character, in a UTF-8 locale and in C
  ["shell $'…'", "it's\ta\x1btab", "$'it\\'s\\ta\\Etab'", "$'***'"],
  ["shell $'…'", "ä-it's\ta-tab", "$'\\303\\244-it\\'s\\ta-tab'", "$'***'"],
  // printf %q
  ["printf %q", "a b;c(d)e,f", "a\\ b\\;c\\(d\\)e\\,f", "***"],
  ["printf %q", "#a b;c(d)", "\\#a\\ b\\;c\\(d\\)", "***"],
  // Java's StAX; Go html.EscapeString; Python html.escape; text content
  ["XML text", `<a b="c" d='e'>`, "x &lt;a b=&quot;c&quot; d=&apos;e&apos;&gt; y", "x *** y"],
  ["XML text", `<a b="c" d='e'>`, "x &lt;a b=&#34;c&#34; d=&#39;e&#39;&gt; y", "x *** y"],
  ["XML text", `<a b="c" d='e'>`, "x &lt;a b=&quot;c&quot; d=&#x27;e&#x27;&gt; y", "x *** y"],
  ["XML text", "R&D<secret>", "<v>R&amp;D&lt;secret&gt;</v>", "<v>***</v>"],
  // jq '@html|@uri', once more through @uri, and with entities by number
  ["XML text", 'Aa1"Bb2&Cc3', "?x=Aa1%26quot%3BBb2%26amp%3BCc3&y", "?x=***&y"],
  ["XML text", 'Aa1"Bb2&Cc3', "?x=Aa1%2526quot%253BBb2%2526amp%253BCc3&y", "?x=***&y"],
  ["XML text", 'Aa1"Bb2&Cc3', "?x=Aa1%26%2334%3BBb2%26%23x26%3BCc3&y", "?x=***&y"],
  ["XML text", "a&b%c&quot", "a%26b%25c%26quot z", "*** z"],
  // ls /nonexistent/tab…; GIT_TRACE=1 git ls-remote
  ["shell '…'", "tab\tand\ttab", "ls: '/x/tab'$'\\t''and'$'\\t''tab': No", "ls: '/x/***': No"],
  ["shell '…'", "Aa1!Bb2!c", "git 'https://u:Aa1'\\!'Bb2'\\!'c@h'", "git 'https://u:***@h'"],
  // JSON.stringify(buffer)
  ["numbers", "hunter2!", '{"data":[104,117,110,116,101,114,50,33]}', '{"data":[***]}'],
  // .NET's BitConverter.ToString(); xxd -i; console.log(Buffer) of more than 50 bytes
  ["hex dump", "hunter2!", "68-75-6E-74-65-72-32-21", "***"],
  ["hex dump", "hunter2!", "  0x68, 0x75, 0x6e, 0x74, 0x65, 0x72,\n  0x32, 0x21\n", "  ***\n"],
  [
    "hex dump",
    "q".repeat(60),
    `<Buffer ${"71 ".repeat(50)}... 10 more bytes>`,
    "<Buffer *** ... 10 more bytes>",
  ],
];

test.each(printed)("%s hides %j in %j", (_, value, text, left) => {
  expect(scrub(value, text)).toBe(left);
});

test.each([
  // printf of the value with ONLCR, the terminal's default
  ["LF", "1-line\n2-line\n3", "a 1-line\r\n2-line\r\n3 b"],
  ["CRLF", "1-line\r\n2-line\r\n3", "a 1-line\r\r\n2-line\r\r\n3 b"],
  ["LF and CR", "1\r2\n3", "a 1\r2\r\n3 b"],
  // export -p in dash
  ["LF, in quotes", "it's\n2\n3", "a it'\"'\"'s\r\n2\r\n3 b"],
  [
    "LF and more than 64 KiB, with a CR",
    `1\r${"23\n".repeat(30_000)}4`,
    `a 1\r${"23\r\n".repeat(30_000)}4 b`,
  ],
])("a value with %s is hidden where a terminal shows it", (_, value, text) => {
  expect(scrub(value, text)).toBe("a *** b");
});

test("a token of letters and digits costs at most 24 patterns", () => {
  expect(spellings(Buffer.from("Q7fk2LmX9pRt4vBz8sNw")).length).toBeLessThanOrEqual(24);
});

test("a spelling that is dropped, and so wiped, does not come back as zeros", () => {
  const value = fc.uint8Array({ minLength: 4, maxLength: 20 }).map((bytes) => bytes.map((byte) => byte || 1));
  fc.assert(
    fc.property(fc.oneof(value, fc.constantFrom(Buffer.from('"ab"'), Buffer.from("\x1bXYZ09"))), (bytes) => {
      for (const spelled of spellings(bytes)) expect(spelled).not.toContain(0);
    }),
  );
});

test.each([
  ["a character in more bytes than it needs", [0xc1, 0x81]],
  ["a surrogate", [0xed, 0xa0, 0x80]],
  ["a character that is cut off", [0xe2, 0x80]],
  ["beyond U+10FFFF", [0xf4, 0x90, 0x80, 0x80]],
])("%s is not UTF-8, so no JSON in ASCII is made of it", (_, odd) => {
  const value = Buffer.from([...odd, ...Buffer.from("value-1")]);
  expect(spellings(value).filter((spelled) => Buffer.from(spelled).includes("\\u"))).toEqual([]);
});

test("a value of 4 bytes is searched, its encodings of 8 bytes are, and its escapes", () => {
  expect(scrub("abcd", "abcd 61626364 YWJjZA==")).toBe("*** *** ***");
  expect(scrub('a"b"c', 'a"b"c a\\"b\\"c')).toBe("*** ***");
});

test("a value over 64 KiB is searched raw and encoded", () => {
  const value = `${"0123456789abcdef".repeat(5000)}"`;
  expect(scrub(value, value)).toBe("***");
  expect(scrub(value, Buffer.from(value).toString("base64"))).toBe("***");
});

test.each([
  ["of a certificate", "-----BEGIN CERTIFICATE-----"],
  ["of a key", "-----END EC PRIVATE KEY-----"],
  ["of SSH2", "---- BEGIN SSH2 PUBLIC KEY ----"],
])("armour %s is no secret", (_, line) => {
  expect(scrub(`${line}\nMIIBojCCAUegAwIB`, `${line}\n.`)).toBe(`${line}\n.`);
});

describe("round trips: what is left tells at most one byte either side of the secret", () => {
  const bytes = (minLength: number, maxLength: number) =>
    fc.uint8Array({ minLength, maxLength, size: "max" }).map((array) => Buffer.from(array));
  const inText = fc
    .record({ before: bytes(0, 90), secret: bytes(12, 120), after: bytes(0, 90) })
    // A value is what is left of it without white space around.
    .filter(
      ({ secret }) =>
        /^\S.*\S$/s.test(secret.toString("latin1")) && !secret.includes(0x0a) && !secret.includes(0x0d),
    )
    .filter(
      ({ secret }) => !/[\x85\xa0]/.test(secret.toString("latin1")[0]! + secret.toString("latin1").at(-1)!),
    );

  const wrapAt = (width: number, lineBreak: string) => (text: string) =>
    (text.match(new RegExp(`.{1,${width}}`, "g")) ?? []).join(lineBreak);
  const layouts: [name: string, lay: (text: string) => string][] = [
    ["in one line", (text) => text],
    ["wrapped at 64", wrapAt(64, "\n")],
    ["wrapped at 76", wrapAt(76, "\n")],
    ["wrapped at 64 with CRLF", wrapAt(64, "\r\n")],
    ["wrapped at 76 with CRLF", wrapAt(76, "\r\n")],
  ];

  for (const encoding of ["base64", "base64url"] as const) {
    test.each(layouts)(`${encoding} %s`, (_, lay) => {
      fc.assert(
        fc.property(inText, fc.constantFrom(1, 7, 50, 80, 1000), ({ before, secret, after }, size) => {
          const text = Buffer.from(lay(Buffer.concat([before, secret, after]).toString(encoding)));
          const stream = createScrubber([secret]).stream();
          let out = "";
          for (let at = 0; at < text.length; at += size) {
            out += Buffer.from(stream.push(text.subarray(at, at + size))).toString("latin1");
          }
          out += Buffer.from(stream.end()).toString("latin1");
          const parts = out.split("***");
          expect(parts.length).toBe(2);
          const whole = (part: string) => Math.floor((part.replace(/[\r\n=]/g, "").length * 6) / 8);
          expect(whole(parts[0]!)).toBeLessThanOrEqual(before.length + 1);
          expect(whole(parts[1]!)).toBeLessThanOrEqual(after.length + 1);
        }),
        { numRuns: 120 },
      );
    });
  }

  /** Encoders of which the encoding of a concatenation is the concatenation of the encodings. */
  const encoders: [name: string, encode: (text: string) => string][] = [
    ["hex", (text) => Buffer.from(text).toString("hex")],
    ["upper-case hex", (text) => Buffer.from(text).toString("hex").toUpperCase()],
    ["encodeURIComponent", encodeURIComponent],
    ["encodeURI", encodeURI],
    ["URLSearchParams", (text) => new URLSearchParams({ k: text }).toString().slice(2)],
    ["JSON.stringify", (text) => JSON.stringify(text).slice(1, -1)],
    ["JSON.stringify twice", (text) => JSON.stringify(JSON.stringify(text)).slice(3, -3)],
    [
      "JSON in ASCII",
      (text) =>
        JSON.stringify(text)
          .slice(1, -1)
          .replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`),
    ],
    ["shell '…'", (text) => text.replaceAll("'", "'\\''")],
    ['shell "…"', (text) => text.replace(/[$`"\\]/g, "\\$&")],
    [
      "XML",
      (text) =>
        text
          .replaceAll("&", "&amp;")
          .replaceAll("<", "&lt;")
          .replaceAll(">", "&gt;")
          .replaceAll('"', "&quot;")
          .replaceAll("'", "&#39;"),
    ],
  ];
  const unit = fc.oneof(
    fc.constantFrom(..." !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    fc.constantFrom(..."abcXYZ019"),
    fc.constantFrom("ä", "ж", "字", "😀"),
  );
  // Letters at both ends keep neighbours from completing another occurrence, and white space inside.
  const secretText = fc
    .string({ unit, minLength: 6, maxLength: 40, size: "max" })
    .map((text) => `Qq${text}qQ`);
  const otherText = fc.string({ unit, maxLength: 30, size: "max" });

  test.each(encoders)("%s", (_, encode) => {
    fc.assert(
      fc.property(otherText, secretText, otherText, (before, secret, after) => {
        expect(scrub(secret, encode(before + secret + after))).toBe(`${encode(before)}***${encode(after)}`);
      }),
      { numRuns: 120 },
    );
  });
});
