/**
 * Keys that are kept in a folder, each 32 bytes and its owner's alone. They are made once: with another root key nothing
 * would ever be found in a cache twice, and with another proof key no broker would know the executor again.
 */
import { randomBytes } from "node:crypto";
import type { Stats } from "node:fs";
import { link, open, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { rootKeyLength } from "../../broker/keys/derivation.ts";
import { Failure } from "../../shared/failure.ts";
import { makeFolder } from "../../shared/make-folder.ts";
import { Secret } from "../../shared/secret.ts";

/** @throws {Failure} `state_unusable`, also for a key that others can read. */
export const loadRootKey = (folder: string): Promise<Secret> => load(join(folder, "root-key"));

/** The key by which an executor proves who it is. @throws {Failure} as `loadRootKey` does. */
export const loadProofKey = (folder: string): Promise<Secret> => load(join(folder, "proof-key"));

/** What cached results are authenticated with. @throws {Failure} as `loadRootKey` does. */
export const loadCacheKey = (folder: string): Promise<Secret> => load(join(folder, "cache-key"));

async function load(path: string): Promise<Secret> {
  try {
    if (!(await isThere(path))) {
      makeFolder(dirname(path));
      await make(path);
    }
    return await readRootKey(path);
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    throw new Failure("state_unusable", { detail: `${path} can be neither read nor made (${code})`, cause });
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );
}

/**
 * What is read is what was looked at: the file is opened once.
 *
 * @throws {Failure} `state_unusable`, also for a key that others can read.
 */
export async function readRootKey(path: string): Promise<Secret> {
  const file = await open(path, "r");
  try {
    if (!isPrivate(await file.stat())) throw new Failure("state_unusable", { detail: advice(path) });
    return parseRootKey(await file.readFile(), path);
  } finally {
    await file.close();
  }
}

/**
 * Its owner's alone, who we are; or root's, and readable for one group of ours: as Kubernetes mounts a Secret where
 * `fsGroup` is set, and as nobody else can hand a file to a process that is not root.
 */
function isPrivate({ mode, uid, gid }: Stats): boolean {
  const own = process.getuid?.();
  if (uid === own) return (mode & 0o077) === 0;
  const groups = [process.getgid?.(), ...(process.getgroups?.() ?? [])];
  return uid === 0 && own !== 0 && (mode & 0o037) === 0 && groups.includes(gid);
}

const advice = (path: string) =>
  `${path} must belong to its owner alone (mode 600, owned by user ${process.getuid?.()}); or owned by root, in a group of ` +
  "this process, and mode 440, as Kubernetes mounts a Secret with defaultMode: 0440 and an fsGroup";

/** @param bytes the key, raw or as base64 text. */
export function parseRootKey(bytes: Buffer, origin: string): Secret {
  if (bytes.length === rootKeyLength) return new Secret(bytes);
  const text = bytes.toString("latin1").trim();
  const decoded = Buffer.from(text, "base64");
  if (decoded.length === rootKeyLength && /^[A-Za-z0-9+/_-]{43}=?$/.test(text)) return new Secret(decoded);
  throw new Failure("state_unusable", { detail: `${origin} is not a key of ${rootKeyLength} bytes` });
}

/** Whole or not at all, and never over another process's key. */
async function make(path: string): Promise<void> {
  const draft = `${path}.${randomBytes(6).toString("hex")}`;
  const file = await open(draft, "wx", 0o600);
  try {
    await file.writeFile(randomBytes(rootKeyLength));
    await file.sync();
    await link(draft, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  } finally {
    await file.close();
    await unlink(draft);
  }
}
