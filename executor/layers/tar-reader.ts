/** Reads an archive as it comes. What it is given was written by GNU tar or by tar.ts; anything else is refused. */
import { attributeKey, blockSize, contentSize, type Entry, type Extent, type Kind, kinds } from "./tar.ts";

/** Bytes of a file, and where in it they are. */
export interface Piece {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface Member {
  readonly entry: Entry;
  /** The entry's bytes, in order and without its holes. They can be read before the next member is asked for. */
  readonly content: AsyncIterable<Piece>;
}

/** More than what a file system lets a file have of names and attributes, and of extents in a map. */
const extendedLimit = 16 * 1024 * 1024;

/** A reader that stops half-way also ends the source, so that the program behind it does not wait for a reader. */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<Member> {
  const reader = createReader(source);
  try {
    yield* readMembers(reader);
  } finally {
    await reader.close();
  }
}

async function* readMembers(reader: Reader): AsyncGenerator<Member> {
  let records: ReadonlyMap<string, Buffer> = new Map();
  for (;;) {
    const block = await reader.take(blockSize);
    if (block.every((byte) => byte === 0)) break;
    const { type, kind, stored, isSparse, ...fields } = decodeHeader(block, records);
    records = new Map();
    if (type === "x") {
      records = decodeRecords(await reader.take(stored));
      await reader.skip(paddingOf(stored));
      continue;
    }
    if (!kind) throw new Error(`an entry of type ${JSON.stringify(type)}`);
    const map = isSparse ? await takeMap(reader) : undefined;
    const entry: Entry = { ...fields, kind, ...(map && { extents: map.extents }) };
    if (map && map.length + contentSize(entry) !== stored)
      throw new Error("a map that does not fit its file");
    const content = reader.pieces(map?.extents ?? [{ offset: 0, length: stored }]);
    yield { entry, content };
    for await (const _ of content);
    await reader.skip(paddingOf(stored));
  }
  await reader.drain();
}

const paddingOf = (size: number) => (blockSize - (size % blockSize)) % blockSize;

/** Numbers in lines: how many extents, then the offset and the length of each. */
async function takeMap({ take }: Reader): Promise<{ extents: Extent[]; length: number }> {
  const numbers: number[] = [];
  let [rest, length] = ["", 0];
  do {
    const lines = (rest + (await take(blockSize)).toString("latin1")).split("\n");
    length += blockSize;
    rest = lines.pop() ?? "";
    for (const line of lines) numbers.push(Number(line));
    if (length > extendedLimit) throw new Error("a map that is too large");
  } while (numbers.length === 0 || numbers.length <= 2 * (numbers[0] as number));
  const extents = Array.from({ length: numbers[0] as number }, (_, index) => ({
    offset: numbers[2 * index + 1] as number,
    length: numbers[2 * index + 2] as number,
  }));
  return { extents, length };
}

type Reader = ReturnType<typeof createReader>;

/** Cuts a stream of chunks where the archive says. */
function createReader(source: AsyncIterable<Uint8Array>) {
  const chunks = source[Symbol.asyncIterator]();
  let chunk: Uint8Array = new Uint8Array(0);

  /** At least one byte, at most `limit`. */
  async function some(limit: number): Promise<Uint8Array> {
    while (chunk.length === 0) {
      const { value, done } = await chunks.next();
      if (done) throw new Error("the archive is cut off");
      chunk = value;
    }
    const bytes = chunk.subarray(0, limit);
    chunk = chunk.subarray(bytes.length);
    return bytes;
  }

  return {
    async take(length: number): Promise<Buffer> {
      if (length > extendedLimit) throw new Error("a header that is too large");
      if (chunk.length >= length) {
        const bytes = chunk.subarray(0, length);
        chunk = chunk.subarray(length);
        return Buffer.from(bytes.buffer, bytes.byteOffset, length);
      }
      const bytes = Buffer.alloc(length);
      for (let at = 0; at < length; ) {
        const part = await some(length - at);
        bytes.set(part, at);
        at += part.length;
      }
      return bytes;
    },

    async close(): Promise<void> {
      await chunks.return?.();
    },

    async skip(length: number): Promise<void> {
      for (let left = length; left > 0; ) left -= (await some(left)).length;
    },

    /** Whoever stops reading half-way leaves the rest to the next one who reads. */
    pieces(extents: readonly Extent[]): AsyncIterable<Piece> {
      const left = extents.filter(({ length }) => length > 0);
      let current = 0;
      /** Of the current extent, how much was read. */
      let done = 0;
      const iterator = {
        async next(): Promise<IteratorResult<Piece>> {
          const extent = left[current];
          if (!extent) return { value: undefined, done: true };
          const bytes = await some(extent.length - done);
          const offset = extent.offset + done;
          done += bytes.length;
          if (done === extent.length) [current, done] = [current + 1, 0];
          return { value: { offset, bytes }, done: false };
        },
      };
      return { [Symbol.asyncIterator]: () => iterator };
    },

    /** What fills up the last record of an archive. */
    async drain(): Promise<void> {
      while (!(await chunks.next()).done);
    },
  };
}
/** The records of an extended header. */
export function decodeRecords(bytes: Buffer): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(" ", at);
    const length = Number(bytes.toString("latin1", at, space));
    const equals = bytes.indexOf("=", space);
    if (!(length > 0) || equals < 0 || equals >= at + length) throw new Error("a broken record of a header");
    records.set(bytes.toString("latin1", space + 1, equals), bytes.subarray(equals + 1, at + length - 1));
    at += length;
  }
  return records;
}

/** @param records what the extended header before it said. */
export function decodeHeader(block: Buffer, records: ReadonlyMap<string, Buffer>) {
  const text = (at: number, length: number) =>
    block.toString("latin1", at, at + length).replace(/\0.*$/s, "");
  const octal = (at: number, length: number) => Number.parseInt(text(at, length), 8) || 0;
  const said = (key: string) => records.get(key)?.toString("latin1");
  const number = (key: string, at: number, length: number) => Number(said(key) ?? octal(at, length));

  const kind = (kinds as Record<string, Kind>)[text(156, 1) || "0"];
  const prefix = text(345, 155);
  const name = said("GNU.sparse.name") ?? said("path") ?? (prefix ? `${prefix}/` : "") + text(0, 100);
  const target = said("linkpath") ?? text(157, 100);
  // A hard link may say how large its file is; nothing follows it.
  const stored = kind === "file" || !kind ? number("size", 124, 12) : 0;
  const attributes = [...records].filter(([key]) => key.startsWith(attributeKey));
  return {
    kind,
    type: text(156, 1),
    stored,
    isSparse: records.has("GNU.sparse.major"),
    path: plain(name),
    mode: octal(100, 8) & 0o7777,
    uid: number("uid", 108, 8),
    gid: number("gid", 116, 8),
    mtime: said("mtime") ?? String(octal(136, 12)),
    target: kind === "link" ? plain(target) : target,
    device: { major: octal(329, 8), minor: octal(337, 8) },
    attributes: new Map(
      attributes.map(([key, value]) => [
        key.slice(attributeKey.length).replace(/%(25|3D)/gi, decodeURIComponent),
        value,
      ]),
    ),
    size: said("GNU.sparse.realsize") === undefined ? stored : Number(said("GNU.sparse.realsize")),
  };
}

/** `./a/b/` is `a/b`. */
const plain = (name: string) => name.replace(/^(\.?\/+)+/, "").replace(/^\.$|\/+$/g, "");
