// Named characters of HTML that programs write for a value: those of ASCII, of XML, and of Latin-1.

const ascii =
  "Tab:9 NewLine:a excl:21 quot:22 QUOT:22 num:23 dollar:24 percnt:25 amp:26 AMP:26 apos:27 lpar:28 rpar:29 ast:2a plus:2b comma:2c period:2e sol:2f colon:3a semi:3b lt:3c LT:3c equals:3d gt:3e GT:3e quest:3f commat:40 lbrack:5b lsqb:5b bsol:5c rbrack:5d rsqb:5d Hat:5e lowbar:5f grave:60 lbrace:7b lcub:7b vert:7c verbar:7c rbrace:7d rcub:7d";

/** U+00A0 to U+00FF, in this order. */
const latin1 =
  "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml";

const bytes = (name: string) => new TextEncoder().encode(name);

/** Names and code points. Names are bytes, because what is looked up may be part of a value. */
const entities: readonly (readonly [name: Uint8Array, point: number])[] = [
  ...ascii.split(" ").map((entry) => {
    const [name, hex] = entry.split(":") as [string, string];
    return [bytes(name), Number.parseInt(hex, 16)] as const;
  }),
  ...latin1.split(" ").map((name, i) => [bytes(name), 0xa0 + i] as const),
  [bytes("euro"), 0x20ac],
];

/** By the hash of their names. */
const byHash = new Map(entities.map((entity) => [hash(entity[0], 0, entity[0].length), entity]));

/** FNV-1a. */
function hash(text: Uint8Array, from: number, to: number): number {
  let value = 0x811c9dc5;
  for (let i = from; i < to; i++) value = Math.imul(value ^ text[i]!, 0x01000193);
  return value;
}

/** The code point of the name at `[from, to)`; undefined if there is none. */
export function entityAt(text: Uint8Array, from: number, to: number): number | undefined {
  const entity = byHash.get(hash(text, from, to));
  if (entity === undefined || entity[0].length !== to - from) return undefined;
  return entity[0].every((byte, i) => text[from + i] === byte) ? entity[1] : undefined;
}
