/**
 * The layers of results (layers/layer-store.ts), as far as their room on the disk is concerned. When one was used last
 * is its archive's time of modification; what was used lately stays, because a run may be about to use it again, and
 * what lies under the overlay of a run is locked by it.
 */
import { existsSync } from "node:fs";
import { open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { Failure } from "../../shared/failure.ts";
import { lock } from "../../shared/lock.ts";
import { absent } from "./absent.ts";

/** In milliseconds. */
const lately = 60 * 60 * 1000;

export type KeptLayers = ReturnType<typeof openKeptLayers>;

/** As layers/layer-store.ts has them. Both reject with `invalid_layer` when an archive is not what its name says. */
interface LayerFiles {
  /** Has the layer's files ready. */
  readonly unpack: (digest: string) => Promise<unknown>;
  /** Takes an archive over that comes from elsewhere. */
  readonly receive: (archive: AsyncIterable<Uint8Array>, digest: string) => Promise<void>;
}

/** @param folder of the layer store. */
export function openKeptLayers(folder: string, { unpack, receive }: LayerFiles) {
  const nameOf = (digest: string) => `${folder}/${digest.replace("sha256:", "")}`;
  const archiveOf = (digest: string) => `${nameOf(digest)}.tar`;

  async function digests(): Promise<string[]> {
    const names = (await readdir(folder).catch(absent)) ?? [];
    const archives = names.filter((name) => /^[0-9a-f]{64}\.tar$/.test(name));
    return archives.map((name) => `sha256:${name.slice(0, -".tar".length)}`);
  }

  /** In bytes; its files take about as much as its archive, where they are unpacked. */
  async function sizeOf(digest: string): Promise<number> {
    const { size = 0 } = (await stat(archiveOf(digest)).catch(absent)) ?? {};
    return existsSync(nameOf(digest)) ? 2 * size : size;
  }

  return {
    /** Has it ready for a run. @returns false when it is gone, or spoilt, and then it is gone too. */
    async use(digest: string): Promise<boolean> {
      try {
        const now = new Date();
        await utimes(archiveOf(digest), now, now);
        await unpack(digest);
        return true;
      } catch (thrown) {
        if (thrown instanceof Failure) await rm(archiveOf(digest), { force: true });
        return false;
      }
    },

    sizeOf,
    archiveOf,
    receive,

    has: (digest: string): boolean => existsSync(archiveOf(digest)),

    /** Of all of them, in bytes. */
    async total(): Promise<number> {
      const sizes = await Promise.all((await digests()).map((digest) => sizeOf(digest)));
      return sizes.reduce((sum, size) => sum + size, 0);
    },

    /** Takes away all but these, and but what is in use. */
    async removeExcept(wanted: ReadonlySet<string>): Promise<void> {
      for (const digest of await digests()) {
        const used = await stat(archiveOf(digest)).catch(absent);
        if (!used || wanted.has(digest) || Date.now() - used.mtimeMs < lately) continue;
        if (await removeFiles(nameOf(digest))) await rm(archiveOf(digest), { force: true });
      }
      // What a process that was killed has left of unpacking or of removing.
      for (const name of (await readdir(folder).catch(absent)) ?? []) {
        const left = /^layer-|\.gone$/.test(name) && (await stat(`${folder}/${name}`).catch(absent));
        if (left && Date.now() - left.mtimeMs >= lately) await rm(`${folder}/${name}`, { recursive: true });
      }
    },
  };
}

/** @returns false when they lie under an overlay. */
async function removeFiles(path: string): Promise<boolean> {
  const files = await open(path).catch(absent);
  if (!files) return true;
  try {
    if (!(await lock(files))) return false;
    const aside = `${path}.gone`;
    await rename(path, aside);
    await rm(aside, { recursive: true, force: true });
    return true;
  } finally {
    await files.close();
  }
}
