// For each line of docs/masking.md: a value, what a program makes of it, and what is left. Where the line promises something,
// `break` is the piece of code that keeps the promise, and what stands in its place when it is taken out.

export interface Family {
  /** A part of the page's line. */
  readonly says: string;
  readonly value: string;
  readonly printed: string;
  readonly left: string;
  /** File, code, and what is there instead. Of an escape, what whole-escapes.ts knows of it goes, too. */
  readonly breaks?: readonly [file: string, code: string, instead: string];
}

const base64 = (text: string) => Buffer.from(text).toString("base64");
const hex = (text: string) => Buffer.from(text).toString("hex");
const wrap = (text: string, width: number, between: string) =>
  (text.match(new RegExp(`.{1,${width}}`, "g")) ?? []).join(between);
const token = "correct-horse-battery-staple";
const long = "Q7fk2LmX9pRt4vBz8sNwQ7fk2LmX9pRt4vBz8sNwEnd";
const pem = "-----BEGIN KEY-----\nabcdefg\nhijklmn\n-----END KEY-----";

export const found: readonly Family[] = [
  {
    says: "White space around a value does not count",
    value: " abcd\n",
    printed: "x=abcd;",
    left: "x=***;",
    breaks: ["scrubber.ts", "trimSpace(value)", "value"],
  },
  {
    says: "A value of 4 bytes or more is found as it is",
    value: "abcd",
    printed: "abcd",
    left: "***",
    breaks: ["scrubber.ts", "const shortest = 4;", "const shortest = 5;"],
  },
  {
    says: "each line of 8 bytes or more",
    value: 'first-line\nother"line',
    printed: '"other\\"line"',
    left: '"***"',
    breaks: ["parts.ts", "line.length >= shortest || isMixed(line)", "isMixed(line)"],
  },
  {
    says: "a line of 4 to 7 bytes that has letters and digits",
    value: "ab12cd\nanother-line",
    printed: "x ab12cd y",
    left: "x *** y",
    breaks: ["parts.ts", " || isMixed(line)", ""],
  },
  {
    says: "The BEGIN and END lines of a PEM are public",
    value: pem,
    printed: "-----BEGIN KEY-----\n.",
    left: "-----BEGIN KEY-----\n.",
    breaks: ["parts.ts", "if (isArmour(line)) continue;", ""],
  },
  {
    says: "each string of a value that is a JSON object",
    value: '{"name": "s3cret/string", "n": 1}',
    printed: "s3cret/string",
    left: "***",
    breaks: ["parts.ts", "if (isJson) for", "if (false) for"],
  },
  {
    says: "each setting of a value of several lines",
    value: "user = me\npassword = sword/fish",
    printed: "sword/fish",
    left: "***",
    breaks: ["parts.ts", "if (setting) takeAndWipe(setting);", ""],
  },
  {
    says: "the body of a PEM, as one line",
    value: pem,
    printed: "abcdefghijklmn",
    left: "***",
    breaks: ["parts.ts", "for (const body of bodiesOf(lines)) takeAndWipe(body);", ""],
  },
  {
    says: "what a value in base64 stands for",
    value: base64("user:sword/fish"),
    printed: "user:sword/fish",
    left: "***",
    breaks: ["parts.ts", "if (decoded) takeAndWipe(decoded);", ""],
  },
  {
    says: "the parts of these parts",
    value: base64('{"k": "s3cret/string"}'),
    printed: "s3cret/string",
    left: "***",
    breaks: ["parts.ts", "if (depth < deepest) collect(copy, depth + 1, found);", ""],
  },
  {
    says: "A few common words",
    value: '{"user": "postgres"}',
    printed: "postgres",
    left: "postgres",
    breaks: ["parts.ts", " || common.has(key(trimmed))", ""],
  },
  {
    says: "| base64 and base64url",
    value: token,
    printed: base64(`x${token}`),
    left: "eG***",
    breaks: ["forms.ts", "spell: base64 }", "spell: () => [] }"],
  },
  {
    says: "| base64 and base64url",
    value: "~~~???>>>~~",
    printed: "fn5-Pz8_Pj4-fn4",
    left: "***",
    breaks: ["forms.ts", "spell: base64url }", "spell: () => [] }"],
  },
  {
    says: "| hex, in upper",
    value: token,
    printed: hex(token),
    left: "***",
    breaks: ["forms.ts", "spell: hex }", "spell: () => [] }"],
  },
  {
    says: "| hex dump of a value",
    value: token,
    printed: wrap(hex(token), 2, "-"),
    left: "***",
    breaks: ["forms.ts", "spell: dumps }", "spell: () => [] }"],
  },
  {
    says: "| hex dump with prefixes",
    value: "hunter2!",
    printed: "0x68, 0x75, 0x6e, 0x74, 0x65, 0x72, 0x32, 0x21",
    left: "***",
    breaks: ["dumps.ts", "`0x${lowerHex(byte)}`", "lowerHex(byte)"],
  },
  {
    says: "| the first 50 bytes",
    value: "q".repeat(60),
    printed: `<Buffer ${"71 ".repeat(50)}... 10 more bytes>`,
    left: "<Buffer *** ... 10 more bytes>",
    breaks: ["dumps.ts", "value.length > bufferShown", "value.length < 0"],
  },
  {
    says: "| numbers, of a value",
    value: "hunter2!",
    printed: "[104,117,110,116,101,114,50,33]",
    left: "[***]",
    breaks: ["forms.ts", "spell: numbers }", "spell: () => [] }"],
  },
  {
    says: "a line breaks at 16 columns or more",
    value: long,
    printed: `${wrap(base64(long), 17, "\n")}\n`,
    left: "***\n",
    breaks: ["characters.ts", "else if (depthBefore > 0 && isLost", "else if (depthBefore < 0 && isLost"],
  },
  {
    says: "the line break is escaped",
    value: long,
    printed: `"${wrap(base64(long), 40, "\\n")}"`,
    left: '"***"',
    breaks: ["escapes.ts", 'controls.set(code("n"), LF);', ""],
  },
  {
    says: "an indent or up to 100 bytes",
    value: long,
    printed: `${wrap(base64(long), 40, "\n2026-03-01T00:00:00Z build | ")}\n`,
    left: "***\n",
    breaks: ["breaks.ts", "const leadLimit = 100;", "const leadLimit = 8;"],
  },
  {
    says: "a dump's addresses, and the text",
    value: "correct-horse-battery-staple-42",
    printed:
      "00000000: 636f 7272 6563 742d 686f 7273 652d 6261  correct-horse-ba\n00000010: 7474 6572 792d 7374 6170 6c65 2d34 32    ttery-staple-42\n",
    left: "00000000: ***\n",
    breaks: ["characters.ts", "const asideLimit = 24;", "const asideLimit = 0;"],
  },
  ...escapes(),
  {
    says: "any: blanks, tabs, line breaks",
    value: "correct horse battery",
    printed: "correct  \n\t horse\\nbattery",
    left: "***",
    breaks: ["characters.ts", "if (last === blank) {\n      dressedAt = start;\n", "if (last < 0) {\n"],
  },
  {
    says: "also a comma, or nothing",
    value: "foo\nbar\nbaz",
    printed: "foo,bar,baz",
    left: "***",
    breaks: ["canonical.ts", '[",", "", " "]', '["", " "]'],
  },
  {
    says: "also a comma, or nothing",
    value: "foo\nbar\nbaz",
    printed: "foobarbaz",
    left: "***",
    breaks: ["canonical.ts", '[",", "", " "]', '[",", " "]'],
  },
];

/** Each in `q…z`. */
function escapes(): Family[] {
  const row = (
    says: string,
    value: string,
    printed: string,
    file: string,
    code: string,
    instead: string,
  ): Family => ({
    says,
    value: `Qqq${value}zZZ`,
    printed: `x Qqq${printed}zZZ y`,
    left: "x *** y",
    breaks: [file, code, instead],
  });
  return [
    row("| `%NN`", "@/", "%40%2f", "escapes.ts", 'length < 3 ? "more" : stands(hexValue(1, 3))', '"not"'),
    row("| `%NN`", "字", "%u5B57", "escapes.ts", "if (bytes[1] === 0x75) {", "if (bytes[1] === 0) {"),
    row("| `%NN`", "a%zb", "a%25%25zb", "characters.ts", "byte === percent || (quotes", "(quotes"),
    row(
      "| `%NN`",
      "a%%aa b",
      "a%25%25aa%20b",
      "canonical.ts",
      "if (value.some((byte, at) => byte === percent && value[at + 1] === percent)) {",
      "if (blank < 0) {",
    ),
    row("| `%NN`", "a b", "a+b", "canonical.ts", "if (value.includes(blank)) {", "if (blank < 0) {"),
    row(
      "| `\\` before any",
      "a=b;c",
      "a\\=b\\;c",
      "escapes.ts",
      "return stands(control ?? first);\n    }",
      "return stands(backslash);\n    }",
    ),
    row("| `\\n`", "a\tb", "a\\tb", "escapes.ts", '["n", "r", "t", "v", "f"]', '["n"]'),
    row("| `\\n`", "a\x07zb", "a\\azb", "escapes.ts", '  [code("a"), 7],\n', ""),
    row("| `\\n`", "a\x1bzb", "a\\Ezb", "escapes.ts", '  [code("E"), 27],\n', ""),
    row(
      "| `\\xNN`",
      "ä@",
      "\\xc3\\xa4\\x40",
      "escapes.ts",
      "if (first === 0x78) return digits(2, true);",
      "",
    ),
    row("| `\\xNN`", "字", "\\x{5b57}", "escapes.ts", "if (bytes[2] === open) {", "if (bytes[2] === -1) {"),
    row("| `\\xNN`", "<b", "\\u003cb", "escapes.ts", "if (first === 0x75) return digits(4, false);", ""),
    row(
      "| `\\xNN`",
      "😀",
      "\\ud83d\\ude00",
      "escapes.ts",
      "if (point >= 0xdc00 && point < 0xe000) {",
      "if (point < 0) {",
    ),
    row("| `\\xNN`", "😀", "\\U0001f600", "escapes.ts", "if (first === 0x55) return digits(8, false);", ""),
    row(
      "| `\\xNN`",
      "ä",
      "\\303\\244",
      "escapes.ts",
      'if (isOctal(first) && first <= 0x33 && isOctal(last)) return "more";',
      "",
    ),
    row(
      "| `\\xNN`",
      "a=b",
      "a\\3Db",
      "escapes.ts",
      "if (digitOf(last) >= 0) return stands(hexValue(1, 3));",
      "",
    ),
    row(
      "| `\\xNN`",
      "äb",
      "\\xe4b",
      "canonical.ts",
      "if (value.some((byte) => byte === 0xc2 || byte === 0xc3)) {",
      "if (blank < 0) {",
    ),
    row(
      "| `&#N;`",
      "a<b",
      "a&#60;b",
      "escapes.ts",
      'return length > 3 ? isCharacter(point) : "not";',
      'return "not";',
    ),
    row(
      "| `&#N;`",
      "a<b",
      "a&#x3C;b",
      "escapes.ts",
      'length > 4 ? isCharacter(hexValue(3, length - 1)) : "not"',
      '"not"',
    ),
    row(
      "| `&#N;`",
      "a<ü",
      "a&lt;&uuml;",
      "escapes.ts",
      'point === undefined ? "not" : isCharacter(point)',
      '"not"',
    ),
    row(
      "| `%26#N%3B`",
      'a"b',
      "a%26quot%3Bb",
      "escapes.ts",
      "doubled && (inner > 0 || byte === percent)",
      "length < 0",
    ),
    row(
      "| `=NN`",
      "a=ä",
      "a=3D=C3=A4",
      "escapes.ts",
      "value < 0 || isWord(value)",
      "value > -2 || isWord(value)",
    ),
    row("| `=NN`", "a-b", "a=\n-b", "escapes.ts", "if (last === LF) return stands(softBreak);", ""),
    row("| `''`", "a'b\"c", "a''b\"\"c", "characters.ts", "(quotes && isQuote(byte))", "false"),
    row("| `''`", "a$b", "a$$b", "characters.ts", "(dollars && byte === dollar)", "false"),
    row(
      "| `'$'",
      "a\tb!c",
      "a'$'\\t''b'\\!'c",
      "canonical.ts",
      "if (outside !== value) {",
      "if (blank < 0) {",
    ),
    row(
      "nested in each other",
      "@/",
      "%2540%252F",
      "escapes.ts",
      "else if (value >= 0) feed(value, start, end, true);",
      "else if (value >= 0) deliver(value, start, end, true);",
    ),
  ];
}

const shown = (says: string, value: string, printed: string, left = printed): Family => ({
  says,
  value,
  printed,
  left,
});

/** What the page says is not found. */
export const missed: readonly Family[] = [
  shown("reversed, in upper", token, [...token].reverse().join("")),
  shown("reversed, in upper", token, token.toUpperCase()),
  shown("reversed, in upper", token, `correct-\x1b[31mhorse\x1b[0m-battery-staple`),
  shown("replaced by others", "abc/defgh/ijk", "abc-defgh-ijk"),
  shown("replaced by others", "a\x01bcdefä", "a^AbcdefM-CM-$"),
  shown("A mere part", token, `error: "correct-hor"...`),
  shown("Other encodings", "hunter2!", "NB2W45DFOIZCC==="),
  shown("Other encodings", "hunter2!", "7568 746e 7265 2132"),
  shown("An encoding of a value in escapes", 'a"bcdefghijk', base64('{"k":"a\\"bcdefghijk"}')),
  shown("numbers with blanks between", "hunter2!", "[104 117 110 116 101 114 50 33]"),
  shown("Characters drawn apart", "hunter2!", "   h   u   n   t   e   r   2   !"),
  shown("White space inside a value", "p@ssword!of.mine", "p@sswo\nrd!of.mine"),
  shown("A value in pieces", "a-line\nb-line\n", "'a-line\\n' +\n  'b-line\\n'"),
  shown("An encoding that was broken by blanks", token, wrap(base64(token), 20, " ")),
  shown("An encoding that was broken by blanks", token, `${wrap(base64(token), 12, "\n")}\n`),
  shown("A `%` before an escaped letter", "q%Uabc", "q%%55abc"),
  shown("before a digit or a letter", "a-\x07cdefg", "a-\\acdefg"),
  shown("Doubled braces", "abc{def}gh", "abc{{def}}gh"),
  shown("Spellings of fewer than 5 bytes", '"abc"', "abc"),
];
