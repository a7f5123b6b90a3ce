/**
 * Text of others on its way to a person's terminal. What a terminal would obey and not show, or show in another order,
 * comes out as its code point: control characters (C0, DEL, C1), line and paragraph separators, marks of writing
 * direction and other invisible formatting, and halves of surrogate pairs.
 */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** On one line: a line break of the text is shown as its code point too. */
export function printable(text: string): string {
  return text.replace(unprintable, (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`);
}

/** As `JSON.stringify` has it, but with all of these escaped as JSON escapes them: it reads back as the same. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value).replace(unprintable, (char) =>
    Array.from(
      { length: char.length },
      (_, at) => `\\u${char.charCodeAt(at).toString(16).padStart(4, "0")}`,
    ).join(""),
  );
}
