/**
 * Which mount a path lies in, and which version of KV that is: the server is asked, as its own command line does, and
 * the answer is kept for a minute. Mounts do not lie within each other, so one that is known needs no asking.
 */
import { asSourceFailure, VaultRefusal } from "./vault-client.ts";

export interface Place {
  /** With a slash at its end. */
  readonly path: string;
  /** Of KV; none where the mount is another engine. */
  readonly version: 1 | 2 | undefined;
  /** The path within the mount. */
  readonly key: string;
}

type Mount = Pick<Place, "path" | "version">;

interface Preflight {
  readonly data: {
    readonly path: string;
    readonly type: string;
    readonly options: { readonly version?: string } | null;
  };
}

const keptTime = 60_000;

export type Mounts = ReturnType<typeof createMounts>;

/** @param fallback the mount under which to look for a path that names none. */
export function createMounts(
  ask: (path: string, signal: AbortSignal) => Promise<unknown>,
  fallback: string | undefined,
) {
  /** By first segment: what was asked last, and by `performance.now()` until when it holds. */
  const known = new Map<string, { readonly mount: Promise<Mount | undefined>; readonly until: number }>();

  async function findMount(path: string, signal: AbortSignal): Promise<Mount | undefined> {
    const first = path.slice(0, path.indexOf("/"));
    const kept = known.get(first);
    if (kept && performance.now() < kept.until) {
      const mount = await kept.mount.catch(() => undefined);
      if (mount && path.startsWith(mount.path)) return mount;
    }
    const mount = preflight(path, signal);
    known.set(first, { mount, until: performance.now() + keptTime });
    return mount;
  }

  async function preflight(path: string, signal: AbortSignal): Promise<Mount | undefined> {
    try {
      const encoded = path.split("/").map(encodeURIComponent).join("/");
      const { data } = (await ask(`sys/internal/ui/mounts/${encoded}`, signal)) as Preflight;
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
    async find(path: string, signal: AbortSignal): Promise<Place | undefined> {
      const candidates = fallback === undefined ? [path] : [path, `${fallback}/${path}`];
      for (const candidate of candidates) {
        const mount = await findMount(candidate, signal);
        if (mount && candidate.startsWith(mount.path) && candidate.length > mount.path.length) {
          return { ...mount, key: candidate.slice(mount.path.length) };
        }
      }
      return undefined;
    },
  };
}
