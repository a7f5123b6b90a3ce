/** What `files:` of a broker's configuration may not open: the broker's own keys and log, and what is no file. */
import { realpath } from "node:fs/promises";
import { dirname } from "node:path";
import { type FileRoot, isWithin, kernelFolders } from "../../broker/providers/file.ts";
import type { BrokerFile, Source } from "./schema.ts";

/** What the broker keeps to itself, and the folders that it lies in, by both of their names where one is a link. */
export async function ownFolders(
  {
    rootKey,
    previousRootKey,
    redis,
    database,
    log,
    tlsKey,
    credentials,
  }: Pick<BrokerFile, "rootKey" | "previousRootKey" | "redis"> & {
    readonly database: Source | undefined;
    readonly log: string | undefined;
    readonly tlsKey: string | undefined;
    /** Files that sources log in with. */
    readonly credentials: readonly string[];
  },
  beside: (name: string) => string,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const sources = { rootKey, previousRootKey, redis, "audit.postgres.url": database };
  const files = Object.entries(sources).map(([field, source]) => [
    field,
    source && "file" in source ? source.file : undefined,
  ]);
  const folders = new Map<string, readonly string[]>();
  for (const [field, file] of [
    ...files,
    ["audit", log],
    ["tls.key", tlsKey],
    ...credentials.map((file) => [`the credential ${file}`, file]),
  ] as [string, string | undefined][]) {
    if (file === undefined) continue;
    const path = beside(file);
    folders.set(field, [
      ...new Set([dirname(path), dirname(await realPath(path)), await realPath(dirname(path))]),
    ]);
  }
  return folders;
}

const realPath = (path: string) => realpath(path).catch(() => path);

/** Roots through which somebody could read what is the broker's own, or what is no file. */
export async function openFolders(
  roots: readonly FileRoot[],
  closed: ReadonlyMap<string, readonly string[]>,
): Promise<string[]> {
  const lies = (path: string, root: string) => path === root || isWithin(path, root);
  const faults: string[] = [];
  for (const { folder } of roots) {
    const names = [folder, await realPath(folder)];
    const kernel = kernelFolders.find((each) => names.some((name) => lies(name, each)));
    if (kernel) faults.push(`${folder} has no files of its own: it lies in ${kernel}`);
    for (const [field, folders] of closed) {
      const inside = folders.find((each) => names.some((name) => lies(each, name)));
      if (inside)
        faults.push(`${folder} has ${field} of this broker in it (${inside}): keep one of them elsewhere`);
    }
  }
  return faults;
}
