/**
 * Results on this host:
 *
 *     FOLDER/results/KEY    one result (entry.ts); when it was used last is the file's time of modification
 *     FOLDER/drafts/KEY     one that is being written
 *     FOLDER/locks/KEY      locked by whoever is making that result
 *
 * A result appears under its name when it is whole, and nobody waits for the disk: what a crash of the machine makes
 * of it is found by its MAC.
 */
import type { KeyObject } from "node:crypto";
import { constants } from "node:fs";
import {
  type FileHandle,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from "node:fs/promises";
import { lock } from "../../shared/lock.ts";
import { makeFolder } from "../../shared/make-folder.ts";
import { absent } from "./absent.ts";
import { type CachedResult, decodeResult, encodeResult, layersIn, otherVersionOf } from "./entry.ts";

/** What comes before a result's output is shorter, in bytes: a plan of a thousand steps has a thousand digests. */
const headerLimit = 256 * 1024;

export interface Stored {
  readonly key: string;
  /** In bytes. */
  readonly size: number;
  readonly used: Date;
}

/** The right, held by one process on this host at a time, to make the result of a key. */
export interface Lease {
  put(result: CachedResult): Promise<void>;
  release(): Promise<void>;
}

export type CacheStore = ReturnType<typeof openStore>;

interface CacheStoreSettings {
  readonly macKey: KeyObject;
  /** Told the key of what is not as it was stored, or of another version; it is as good as not there. */
  readonly onSpoilt?: (key: string, version: ReturnType<typeof otherVersionOf>) => void;
}

export function openStore(folder: string, { macKey, onSpoilt = () => {} }: CacheStoreSettings) {
  const resultOf = (key: string) => `${folder}/results/${key}`;
  const draftOf = (key: string) => `${folder}/drafts/${key}`;
  const lockOf = (key: string) => `${folder}/locks/${key}`;

  const make = (part: string) => makeFolder(`${folder}/${part}`);

  /** As if it had never been there, if it still is. */
  const remove = (path: string) => rm(path, { force: true });

  /** The lock file of a key, locked; undefined when it is another's and that is not waited for. */
  async function hold(key: string, until?: AbortSignal): Promise<FileHandle | undefined> {
    make("locks");
    for (;;) {
      const file = await open(lockOf(key), constants.O_RDWR | constants.O_CREAT, 0o600);
      try {
        const held = await lock(file, { ...(until && { until }) });
        // Whoever held it before may have taken the name away.
        if (held && (await isNamed(file, lockOf(key)))) return file;
        await file.close();
        if (!held) return undefined;
      } catch (thrown) {
        await file.close();
        throw thrown;
      }
    }
  }

  async function letGo(key: string, file: FileHandle): Promise<void> {
    await remove(lockOf(key));
    await file.close();
  }

  async function put(key: string, result: CachedResult): Promise<void> {
    try {
      make("drafts");
      make("results");
      await writeFile(draftOf(key), encodeResult(key, result, macKey), { mode: 0o600 });
      await rename(draftOf(key), resultOf(key));
    } catch (thrown) {
      await remove(draftOf(key));
      throw thrown;
    }
  }

  /** What was changed meanwhile is said. */
  async function read(key: string): Promise<CachedResult | undefined> {
    const bytes = await readFile(resultOf(key)).catch(absent);
    const result = bytes && decodeResult(key, bytes, macKey);
    if (!bytes || result) return result;
    onSpoilt(key, otherVersionOf(bytes));
    return undefined;
  }

  /** The last used first. */
  async function list(): Promise<Stored[]> {
    const keys = (await readdir(`${folder}/results`).catch(absent)) ?? [];
    const all = await Promise.all(
      keys.map(async (key): Promise<Stored[]> => {
        const found = await stat(resultOf(key)).catch(absent);
        return found ? [{ key, size: found.size, used: found.mtime }] : [];
      }),
    );
    return all.flat().sort((a, b) => b.used.getTime() - a.used.getTime());
  }

  return {
    list,

    /** To look at it, which removes nothing: a result that another root key vouches for is good for its owner. */
    read,

    /** To use it; what cannot be used makes room for what can. */
    async find(key: string): Promise<CachedResult | undefined> {
      const result = await read(key);
      const now = new Date();
      if (result) await utimes(resultOf(key), now, now).catch(absent);
      else await remove(resultOf(key));
      return result;
    },

    /** Waits for whoever is making the result of this key, and says that it waits. */
    async claim(key: string, until: AbortSignal, onWait: () => void = () => {}): Promise<Lease> {
      const free = await hold(key);
      if (!free) onWait();
      const held = free ?? ((await hold(key, until)) as FileHandle);
      return { put: (result) => put(key, result), release: () => letGo(key, held) };
    },

    /** The layers that a result names, without a look at the rest of it. */
    async layersOf(key: string): Promise<readonly string[]> {
      const file = await open(resultOf(key)).catch(absent);
      if (!file) return [];
      try {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(headerLimit), 0, headerLimit, 0);
        return layersIn(buffer.subarray(0, bytesRead));
      } finally {
        await file.close();
      }
    },

    remove: (key: string): Promise<void> => remove(resultOf(key)),

    /** Takes away what a process that was killed has left of a result. */
    async sweep(): Promise<void> {
      const keys = [
        ...((await readdir(`${folder}/drafts`).catch(absent)) ?? []),
        ...((await readdir(`${folder}/locks`).catch(absent)) ?? []),
      ];
      for (const key of new Set(keys)) {
        const file = await hold(key);
        if (!file) continue;
        await remove(draftOf(key));
        await letGo(key, file);
      }
    },
  };
}

async function isNamed(file: FileHandle, path: string): Promise<boolean> {
  const [held, named] = await Promise.all([file.stat(), stat(path).catch(absent)]);
  return held.ino === named?.ino;
}
