/**
 * The entries of a layer's archive: pax (POSIX.1-2017, pax, "Extended Description"), with the records that GNU tar
 * and Go's archive/tar have beside it, SCHILY.xattr.NAME for extended attributes and GNU.sparse.* for files with holes:
 *
 *   [ header of type x, records "LENGTH KEY=VALUE\n" ] [ header ] [ map of the extents ] [ bytes ]    each in blocks
 *
 * A container chooses its names and targets, which need be no text: here they are strings of one character a byte
 * (latin1).
 */

export const blockSize = 512;

export const kinds = {
  "0": "file",
  "1": "link",
  "2": "symlink",
  "3": "character",
  "4": "block",
  "5": "folder",
  "6": "fifo",
} as const;

export type Kind = (typeof kinds)[keyof typeof kinds];

/** Where a file has bytes; between these are holes. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

export interface Entry {
  /** Without a slash at either end; empty for the folder that holds all. */
  readonly path: string;
  readonly kind: Kind;
  /** Permissions, with the set-id bits and the sticky one. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970, in decimal, with a fraction. */
  readonly mtime: string;
  /** What a symbolic link says, or the path of the entry that a hard link is another name of. */
  readonly target: string;
  readonly device: { readonly major: number; readonly minor: number };
  readonly attributes: ReadonlyMap<string, Buffer>;
  /** Of a file's content, with its holes. */
  readonly size: number;
  /** Of a file with holes. */
  readonly extents?: readonly Extent[];
}

/** What follows an entry in the archive, in bytes, without what fills up its last block. */
export const contentSize = ({ size, extents }: Entry): number =>
  extents ? extents.reduce((sum, { length }) => sum + length, 0) : size;

/** Zeros up to the next block. */
export const padding = (size: number): Buffer => Buffer.alloc((blockSize - (size % blockSize)) % blockSize);

/** The end of an archive. */
export const end = Buffer.alloc(2 * blockSize);

/** Before the name of an extended attribute, in which "%" and "=" are percent-encoded. */
export const attributeKey = "SCHILY.xattr.";

/** What stands before the bytes of an entry. */
export function encodeEntry(entry: Entry): Buffer {
  const { path, kind, mode, uid, gid, mtime, target, device, attributes, size, extents } = entry;
  const records = new Map<string, string | Buffer>();
  const map = extents ? encodeMap(extents) : Buffer.alloc(0);
  const stored = map.length + contentSize(entry);
  const name = kind === "folder" ? `${path || "."}/` : path;

  if (extents) {
    records.set("GNU.sparse.major", "1");
    records.set("GNU.sparse.minor", "0");
    records.set("GNU.sparse.name", name);
    records.set("GNU.sparse.realsize", String(size));
  } else if (!fitsName(name)) records.set("path", name);
  if (!fitsName(target)) records.set("linkpath", target);
  if (!/^\d{1,11}$/.test(mtime) || Number(mtime) >= 8 ** 11) records.set("mtime", mtime);
  for (const [key, value] of Object.entries({ uid, gid }))
    if (value >= 8 ** 7) records.set(key, String(value));
  if (stored >= 8 ** 11) records.set("size", String(stored));
  for (const [key, value] of attributes)
    records.set(`${attributeKey}${key.replace(/[%=]/g, encodeURIComponent)}`, value);

  const fields = { name: extents ? `GNUSparseFile.0/${name}` : name, mode, uid, gid, mtime, target, device };
  const header = encodeHeader({ ...fields, size: stored, type: typeOf(kind) });
  if (records.size === 0) return header;
  const extended = Buffer.concat([...records].map(([key, value]) => encodeRecord(key, value)));
  const extendedHeader = encodeHeader({
    ...{ name: "PaxHeader", mode: 0o644, uid: 0, gid: 0, mtime: "0", target: "" },
    ...{ device: { major: 0, minor: 0 }, size: extended.length, type: "x" },
  });
  return Buffer.concat([extendedHeader, extended, padding(extended.length), header, map]);
}

const typeOf = (kind: Kind) => Object.entries(kinds).find(([, known]) => known === kind)?.[0] as string;

/** Whether the header's own field can hold it; what is not ASCII is there for the records. */
const fitsName = (name: string) => /^[\x20-\x7e]{0,100}$/.test(name);

interface Header extends Pick<Entry, "mode" | "uid" | "gid" | "mtime" | "target" | "device" | "size"> {
  readonly name: string;
  readonly type: string;
}

function encodeHeader({ name, mode, uid, gid, size, mtime, type, target, device }: Header): Buffer {
  const block = Buffer.alloc(blockSize);
  const text = (value: string, at: number, length: number) => block.write(value, at, length, "latin1");
  // A number that does not fit stands in a record.
  const octal = (value: number, at: number, digits: number) =>
    text((value < 8 ** digits ? value : 0).toString(8).padStart(digits, "0"), at, digits);
  text(name, 0, 100);
  octal(mode, 100, 7);
  octal(uid, 108, 7);
  octal(gid, 116, 7);
  octal(size, 124, 11);
  octal(Math.max(0, Math.floor(Number(mtime))), 136, 11);
  text(type, 156, 1);
  text(target, 157, 100);
  text("ustar\0" + "00", 257, 8);
  octal(device.major, 329, 7);
  octal(device.minor, 337, 7);
  // The sum counts its own field as spaces.
  text(" ".repeat(8), 148, 8);
  let sum = 0;
  for (const byte of block) sum += byte;
  text(`${sum.toString(8).padStart(6, "0")}\0 `, 148, 8);
  return block;
}

/** The length counts its own digits. */
function encodeRecord(key: string, value: string | Buffer): Buffer {
  const bytes = typeof value === "string" ? Buffer.from(value, "latin1") : value;
  const rest = Buffer.concat([Buffer.from(` ${key}=`, "latin1"), bytes, Buffer.from("\n")]);
  let length = rest.length + String(rest.length).length;
  length = rest.length + String(length).length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/** Format 1.0: numbers in lines, in blocks of their own. */
function encodeMap(extents: readonly Extent[]): Buffer {
  const numbers = [extents.length, ...extents.flatMap(({ offset, length }) => [offset, length])];
  const map = Buffer.from(`${numbers.join("\n")}\n`);
  return Buffer.concat([map, padding(map.length)]);
}
