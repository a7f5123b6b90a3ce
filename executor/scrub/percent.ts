// Percent-encoding (RFC 3986 section 2.1). Writers agree on the mechanism and differ in what they leave as
// it is, and in how they write a space.

import { hexDigits, range, respell, type Spelling, spelling } from "./respell.ts";

/** What one kind of writer leaves alone besides letters, digits and "_", and how it writes a space. */
export interface PercentSet {
  readonly source: string;
  readonly safe: string;
  readonly space?: "+";
}

export const percentSets: readonly PercentSet[] = [
  {
    source: "RFC 3986 unreserved: curl --data-urlencode, jq @uri, Python quote(safe='')",
    safe: ".~-",
  },
  {
    source: "the same with + for space: Go url.QueryEscape, Python quote_plus",
    safe: ".~-",
    space: "+",
  },
  { source: "WHATWG form: URLSearchParams, Java URLEncoder, PHP urlencode", safe: ".*-", space: "+" },
  { source: "PHP urlencode before 5.3 and Perl's URI::Escape for ~ and *", safe: ".-", space: "+" },
  { source: "ECMAScript encodeURIComponent", safe: ".~!*'()-" },
  { source: "ECMAScript encodeURI", safe: ".~!*'();/?:@&=+$,#-" },
  { source: "Python quote: / is safe", safe: ".~/-" },
  { source: "Go url.PathEscape", safe: ".~$&+:=@-" },
  { source: "Go url.UserPassword: the password in a URL", safe: ".~$&+,;=-" },
  { source: "WHATWG URL userinfo: the password in new URL()", safe: ".~!$%&'()*+,-" },
];

const always = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
const lower = spelling(range(0, 255, (byte) => `%${hexDigits(byte, 2)}`));
const upper = lower.map((digits) => digits?.toUpperCase());

const tables: readonly Spelling[] = percentSets.flatMap(({ safe, space }) =>
  [upper, lower].map((digits) => {
    const table = [...digits];
    for (const character of always + safe) table[character.charCodeAt(0)] = undefined;
    if (space) table[0x20] = space;
    return table;
  }),
);

/** As each writer spells it, with upper-case and with lower-case digits. */
export function percentSpellings(value: Uint8Array): Uint8Array[] {
  return tables.map((table) => respell(value, table));
}
