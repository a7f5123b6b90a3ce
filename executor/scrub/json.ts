// JSON strings (RFC 8259 section 7) without their quotes. Any character may be written as an escape, and
// writers differ in which they do.

const short: Record<string, string> = {
  '"': '\\"',
  "\\": "\\\\",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

const unicode = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
const escaped = (c: string) => short[c] ?? unicode(c);
const slashed = (json: string) => json.replaceAll("/", "\\/");

const plain = (value: string) => value.replace(/["\\\x00-\x1f]/g, escaped);

/** Go writes U+2028 and U+2029 as escapes too; here they are their three UTF-8 bytes. */
const separators = (json: string) =>
  json.replaceAll("\xe2\x80\xa8", "\\u2028").replaceAll("\xe2\x80\xa9", "\\u2029");

/** The writers. `text` is the value decoded from UTF-8, `value` the byte string. */
function writers(value: string, text: string | undefined): string[] {
  const json = plain(value);
  const goSafe = separators(value.replace(/["\\\x00-\x1f<>&]/g, escaped));
  const out = [
    json, // ECMAScript JSON.stringify, jq, Go without HTML escaping
    separators(json),
    slashed(json), // PHP with JSON_UNESCAPED_UNICODE
    goSafe, // Go encoding/json, Rails
    separators(value.replace(/["\\\x00-\x1f<>&=']/g, escaped)), // Gson
    goSafe.replaceAll("\\b", "\\u0008").replaceAll("\\f", "\\u000c"), // Go before 1.22
  ];
  if (text === undefined) return out;
  const ascii = text.replace(/["\\]|[^ -~]/g, escaped);
  out.push(ascii, slashed(ascii)); // Python json.dumps, Ruby ascii_only; PHP json_encode
  out.push(text.replace(/["\\]|[^ -~]/g, (c) => short[c] ?? upperUnicode(c))); // Newtonsoft EscapeNonAscii, jackson
  out.push(text.replace(/[\\\b\f\n\r\t]|["&'+<>`]|[^ -~]/g, dotnet)); // System.Text.Json
  return out;
}

const upperUnicode = (c: string) => `\\u${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
const dotnet = (c: string) => (c === '"' ? "\\u0022" : (short[c] ?? upperUnicode(c)));

/** Byte string in, byte strings out: as each writer spells it, and each of these inside another JSON string. */
export function jsonSpellings(value: string): string[] {
  const once = writers(value, decodeUtf8(value));
  // The inner text is ASCII where it was escaped, so the outer writer only meets quotes, backslashes, slashes.
  const twice = once.flatMap((json) => [plain(json), slashed(plain(json))]);
  return [...once, ...twice];
}

function decodeUtf8(value: string): string | undefined {
  // Without a byte over 0x7F the two are the same.
  if (!/[\x80-\xff]/.test(value)) return value;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      Uint8Array.from(value, (c) => c.charCodeAt(0)),
    );
  } catch {
    return undefined;
  }
}
