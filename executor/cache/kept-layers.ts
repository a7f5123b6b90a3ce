/**
 * The layers of results (layers/layer-store.ts), as far as their room on the disk is concerned. When one was used last
 * is its archive's time of modification; what was used lately stays, because a run may be about to use it again, and
 * what lies under the overlay of a run is locked by it.
 */
import { existsSync, utimesSync } from "node:fs";
import { open, readdir, rename, rm, stat } from "node:fs/promises";
import { lock } from "../../shared/lock.ts";
import { absent } from "./absent.ts";

/** In milliseconds. */
const lately = 60 * 60 * 1000;

export type KeptLayers = ReturnType<typeof openKeptLayers>;

/** @param folder of the layer store. */
export function openKeptLayers(folder: string) {
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
    /** @returns false when it is gone. */
    use(digest: string): boolean {
      if (!existsSync(archiveOf(digest))) return false;
      const now = new Date();
      utimesSync(archiveOf(digest), now, now);
      return true;
    },

    sizeOf,

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
