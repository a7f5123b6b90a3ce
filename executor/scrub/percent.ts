// Percent-encoding (RFC 3986 section 2.1). Writers agree on the mechanism and differ in what they leave as
// it is, and in how they write a space.

/** What one kind of writer leaves alone, and how it writes a space. */
export interface PercentSet {
  readonly source: string;
  /** A regular expression that matches one byte to be encoded. */
  readonly encode: RegExp;
  readonly space?: "+";
}

export const percentSets: readonly PercentSet[] = [
  {
    source: "RFC 3986 unreserved: curl --data-urlencode, jq @uri, Python quote(safe='')",
    encode: /[^\w.~-]/g,
  },
  {
    source: "the same with + for space: Go url.QueryEscape, Python quote_plus",
    encode: /[^\w.~-]/g,
    space: "+",
  },
  { source: "WHATWG form: URLSearchParams, Java URLEncoder, PHP urlencode", encode: /[^\w.*-]/g, space: "+" },
  { source: "PHP urlencode before 5.3 and Perl's URI::Escape for ~ and *", encode: /[^\w.-]/g, space: "+" },
  { source: "ECMAScript encodeURIComponent", encode: /[^\w.~!*'()-]/g },
  { source: "ECMAScript encodeURI", encode: /[^\w.~!*'();/?:@&=+$,#-]/g },
  { source: "Python quote: / is safe", encode: /[^\w.~/-]/g },
  { source: "Go url.PathEscape", encode: /[^\w.~$&+:=@-]/g },
  { source: "Go url.UserPassword: the password in a URL", encode: /[^\w.~$&+,;=-]/g },
  { source: "WHATWG URL userinfo: the password in new URL()", encode: /[^\w.~!$%&'()*+,-]/g },
];

/** Byte string in, byte strings out: upper-case and lower-case digits. */
export function percent(value: string, set: PercentSet): string[] {
  const upper = value.replace(set.encode, (byte) => {
    if (byte === " " && set.space) return set.space;
    return `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
  });
  // Digits of escapes only: a "%" of the value itself is "%25" by now, or left alone with what follows it.
  const lower = value.replace(set.encode, (byte) => {
    if (byte === " " && set.space) return set.space;
    return `%${byte.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
  return [upper, lower];
}
