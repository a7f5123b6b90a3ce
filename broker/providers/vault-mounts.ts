/**
 * Which mount a path lies in, and which version of KV that is: the server is asked, as its own command line does, and
 * the answer is kept for a minute. Mounts do not lie within each other, so one that is known needs no asking.
 */
import { LRUCache } from "lru-cache";
import { asSourceFailure, VaultRefusal } from "./vault-client.ts";

export interface MountedPath {
  /** With a slash at its end. */
  readonly path: string;
  /** Of KV; none where the mount is another engine. */
  readonly version: 1 | 2 | undefined;
  /** The path within the mount. */
  readonly key: string;
}

type Mount = Pick<MountedPath, "path" | "version">;

interface Preflight {
  readonly data: {
    readonly path: string;
    readonly type: string;
    readonly options: { readonly version?: string } | null;
  };
}

const keptTime = 60_000;
/** Of mounts that are known at a time. */
const keptMounts = 1_000;

export type Mounts = ReturnType<typeof createMounts>;

/** @param fallback the mount under which to look for a path that names none. */
export function createMounts(
  ask: (path: string, signal: AbortSignal, tenant: string) => Promise<unknown>,
  fallback: string | undefined,
) {
  /** By first segment: what was found there last. */
  const known = new LRUCache<string, Mount>({ max: keptMounts, ttl: keptTime });
  /** What is being asked, by tenant and first segment: nobody waits in another one's line. */
  const asking = new Map<string, Promise<Mount | undefined>>();

  async function findMount(path: string, signal: AbortSignal, tenant: string): Promise<Mount | undefined> {
    const first = path.slice(0, path.indexOf("/"));
    const shared = `${tenant}\0${first}`;
    const underWay = asking.get(shared);
    const mount = known.get(first) ?? (underWay && (await underWay.catch(() => undefined)));
    if (mount && path.startsWith(mount.path)) return mount;
    const asked = preflight(path, signal, tenant);
    asking.set(shared, asked);
    try {
      const found = await asked;
      if (found) known.set(first, found);
      return found;
    } finally {
      if (asking.get(shared) === asked) asking.delete(shared);
    }
  }

  async function preflight(path: string, signal: AbortSignal, tenant: string): Promise<Mount | undefined> {
    try {
      const encoded = path.split("/").map(encodeURIComponent).join("/");
      const { data } = (await ask(`sys/internal/ui/mounts/${encoded}`, signal, tenant)) as Preflight;
      const isKv = data.type === "kv" || data.type === "generic";
      return { path: data.path, version: isKv ? (data.options?.version === "2" ? 2 : 1) : undefined };
    } catch (thrown) {
      if (!(thrown instanceof VaultRefusal)) throw thrown;
      // No such mount, or none that the token may know of.
      if (thrown.status === 403 || thrown.status === 400) return undefined;
      // A server from before the question existed, and before version 2 did.
      if (thrown.status === 404) return { path: path.slice(0, path.indexOf("/") + 1), version: 1 };
      throw asSourceFailure(thrown);
    }
  }

  return {
    async find(path: string, signal: AbortSignal, tenant: string): Promise<MountedPath | undefined> {
      const candidates = fallback === undefined ? [path] : [path, `${fallback}/${path}`];
      for (const candidate of candidates) {
        const mount = await findMount(candidate, signal, tenant);
        if (mount && candidate.startsWith(mount.path) && candidate.length > mount.path.length) {
          return { ...mount, key: candidate.slice(mount.path.length) };
        }
      }
      return undefined;
    },
  };
}
