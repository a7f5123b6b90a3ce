/**
 * Layers: what containers wrote, as uncompressed OCI layers (image-spec, layer.md), named by their SHA-256, which is a
 * layer's digest and its diff id in one.
 *
 *   FOLDER/HEX.tar     the archive
 *   FOLDER/HEX/        its files as a folder that can lie under an overlay, made when it is first needed
 *
 * Both appear under their name when they are whole. Who has a folder under an overlay holds a shared lock on it.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, link, mkdtemp, open, rename, rm, stat } from "node:fs/promises";
import { Failure } from "../../shared/failure.ts";
import { makeFolder } from "../../shared/make-folder.ts";
import { pack, unpack } from "./gnu-tar.ts";
import { contentSize, encodeEntry, end, padding } from "./tar.ts";
import { type Member, readTar } from "./tar-reader.ts";
import { toLayer, toLowerFolder } from "./whiteouts.ts";

export interface Layer {
  /** `sha256:HEX`, of the archive as it is and as other engines unpack it. */
  readonly digest: string;
  /** Of the archive, in bytes. */
  readonly size: number;
  /** Of the holes in its files, which are in no archive of ours, but which other engines write out. */
  readonly holes: number;
}

/** A layer that is whole, and not in the store yet. */
export interface Draft {
  readonly layer: Layer;
  /** Where it lies as long as the run does. */
  readonly archive: string;
  keep(): Promise<Layer>;
}

export type LayerStore = ReturnType<typeof openLayerStore>;

interface LayerStoreSettings {
  /** For the programs that are started. */
  readonly environment: Readonly<Record<string, string>>;
}

const bufferSize = 1024 * 1024;

/** @param folder on one file system with the folders of runs. */
export function openLayerStore(folder: string, { environment }: LayerStoreSettings) {
  const nameOf = (digest: string) => {
    const hex = /^sha256:([0-9a-f]{64})$/.exec(digest)?.[1];
    if (!hex) throw new Failure("internal");
    return `${folder}/${hex}`;
  };
  const archiveOf = (digest: string) => `${nameOf(digest)}.tar`;

  return {
    /** Where a layer's archive is, if the store has it. */
    archiveOf,

    /** What is known of a layer that the store has. */
    async find(digest: string): Promise<Layer | undefined> {
      const file = await stat(archiveOf(digest)).catch(() => undefined);
      if (!file) return undefined;
      let holes = 0;
      for await (const { entry } of readTar(createReadStream(archiveOf(digest)))) {
        holes += entry.size - contentSize(entry);
      }
      return { digest, size: file.size, holes };
    },

    /** What a container wrote, to be given to `draft`. Nothing may change it any more. */
    changes: (upper: string): AsyncIterable<Member> => readTar(pack(upper, environment)),

    /**
     * @param changes as `changes` gave them, and as they were looked at.
     * @param scratch a folder of the run; a draft that is not kept goes with it.
     * @param limit of the archive, in bytes: a name may need more there than on a disk.
     * @throws {Failure} `invalid_layer` for what would be larger.
     */
    async draft(
      changes: AsyncIterable<Member>,
      scratch: string,
      limit = Number.POSITIVE_INFINITY,
    ): Promise<Draft> {
      makeFolder(folder);
      const path = `${await mkdtemp(`${scratch}/layer-`)}/tar`;
      const layer = await write(path, (sink) => writeLayer(changes, sink), limit);
      return {
        layer,
        archive: path,
        async keep() {
          await link(path, `${path}-kept`);
          await rename(`${path}-kept`, archiveOf(layer.digest));
          return layer;
        },
      };
    },

    /**
     * Takes an archive over that another executor made.
     *
     * @throws {Failure} `invalid_layer` if it is not what its name says.
     */
    async receive(archive: AsyncIterable<Uint8Array>, digest: string, scratch: string): Promise<void> {
      makeFolder(folder);
      const draft = await mkdtemp(`${scratch}/layer-`);
      try {
        const received = await write(`${draft}/tar`, async ({ write }) => {
          for await (const bytes of archive) await write(bytes);
          return {};
        });
        if (received.digest !== digest) throw new Failure("invalid_layer", { detail: digest });
        await rename(`${draft}/tar`, archiveOf(digest));
      } finally {
        await rm(draft, { recursive: true, force: true });
      }
    },

    /**
     * The layer's files, as a folder that can lie under an overlay.
     *
     * @throws {Failure} `invalid_layer` if the archive is not what its name says.
     */
    async unpacked(digest: string, scratch: string): Promise<string> {
      const target = nameOf(digest);
      if (await stat(target).catch(() => undefined)) return target;
      const draft = await mkdtemp(`${scratch}/layer-`);
      await unpack(lowerFolder(archiveOf(digest), digest), draft, environment);
      await rename(draft, target).catch(async (error: NodeJS.ErrnoException) => {
        // Somebody else was faster.
        if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
        await rm(draft, { recursive: true });
      });
      return target;
    },
  };
}

/** What `fill` writes becomes a file. */
async function write<T>(path: string, fill: (sink: Sink) => Promise<T>, limit = Number.POSITIVE_INFINITY) {
  const file = await open(path, "wx", 0o600);
  try {
    const sink = createSink(file, limit);
    const filled = await fill(sink);
    return { ...(await sink.finish()), ...filled };
  } finally {
    await file.close();
  }
}

async function writeLayer(changes: AsyncIterable<Member>, sink: Sink): Promise<{ holes: number }> {
  let holes = 0;
  for await (const { entry, content } of changes) {
    for (const each of toLayer(entry)) {
      await sink.write(encodeEntry(each));
      for await (const { bytes } of content) await sink.write(bytes);
      await sink.write(padding(contentSize(each)));
      holes += each.size - contentSize(each);
    }
  }
  await sink.write(end);
  return { holes };
}

type Sink = ReturnType<typeof createSink>;

/** Writes few large pieces, and reckons the digest. */
function createSink(file: FileHandle, limit: number) {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafeSlow(bufferSize);
  let filled = 0;
  let size = 0;

  async function empty(): Promise<void> {
    const bytes = buffer.subarray(0, filled);
    if (size + filled > limit) {
      throw new Failure("invalid_layer", {
        detail: `their archive is larger than ${limit} bytes, which is all that the run may write`,
      });
    }
    hash.update(bytes);
    // Unlike write(), it does not stop half-way.
    await file.appendFile(bytes);
    size += filled;
    filled = 0;
  }

  return {
    async write(bytes: Uint8Array): Promise<void> {
      for (let at = 0; at < bytes.length; ) {
        const part = bytes.subarray(at, at + bufferSize - filled);
        buffer.set(part, filled);
        filled += part.length;
        at += part.length;
        if (filled === bufferSize) await empty();
      }
    },
    async finish(): Promise<{ digest: string; size: number }> {
      await empty();
      return { digest: `sha256:${hash.digest("hex")}`, size };
    },
  };
}

/** An archive of what has to be under an overlay for it to show the layer. */
async function* lowerFolder(path: string, digest: string): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  const toLower = toLowerFolder();
  for await (const { entry, content } of readTar(hashed(path, hash))) {
    yield encodeEntry(toLower(entry));
    for await (const { bytes } of content) yield bytes;
    yield padding(contentSize(entry));
  }
  if (`sha256:${hash.digest("hex")}` !== digest) throw new Failure("invalid_layer", { detail: digest });
  yield end;
}

async function* hashed(path: string, hash: ReturnType<typeof createHash>): AsyncGenerator<Uint8Array> {
  for await (const bytes of createReadStream(path, { highWaterMark: bufferSize })) {
    hash.update(bytes);
    yield bytes;
  }
}
