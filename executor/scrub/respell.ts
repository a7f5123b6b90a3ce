// Spells a value anew, byte by byte. Values stay bytes all the way, because a string cannot be wiped; what is a
// string here says how one byte is spelled and nothing of a value.

/** How single bytes are spelled, in ASCII. A byte without an entry stays as it is. */
export type Spelling = readonly (string | undefined)[];

/** Entries by character, U+0000 to U+00FF; later ones win. */
export function spelling(...entries: readonly Readonly<Record<string, string>>[]): Spelling {
  const table: (string | undefined)[] = new Array(256).fill(undefined);
  for (const [character, spelled] of entries.flatMap(Object.entries))
    table[character.charCodeAt(0)] = spelled;
  return table;
}

/** The bytes from `first` to `last`, each as `spell` says. */
export function range(first: number, last: number, spell: (byte: number) => string): Record<string, string> {
  const entries: Record<string, string> = {};
  for (let byte = first; byte <= last; byte++) entries[String.fromCharCode(byte)] = spell(byte);
  return entries;
}

/** A new array, or `value` itself if nothing changes. */
export function respell(value: Uint8Array, table: Spelling): Uint8Array {
  let length = 0;
  let changes = false;
  for (let i = 0; i < value.length; i++) {
    const spelled = table[value[i]!];
    length += spelled?.length ?? 1;
    changes ||= spelled !== undefined;
  }
  if (!changes) return value;
  const out = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < value.length; i++) {
    const spelled = table[value[i]!];
    if (spelled === undefined) out[at++] = value[i]!;
    else at = put(out, at, spelled);
  }
  return out;
}

/** Writes ASCII text and gives the place behind it. */
export function put(out: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) out[at + i] = text.charCodeAt(i);
  return at + text.length;
}

/** One step after the other; what was only in between is wiped. A step may give back what it got. */
export function inTurn(
  value: Uint8Array,
  ...steps: readonly ((bytes: Uint8Array) => Uint8Array)[]
): Uint8Array {
  let current = value;
  for (const step of steps) {
    const next = step(current);
    if (next !== current && current !== value) current.fill(0);
    current = next;
  }
  return current;
}

export function hexDigits(byte: number, width: number): string {
  return byte.toString(16).padStart(width, "0");
}
