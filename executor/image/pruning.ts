/** Takes images away that were pulled for runs and that no run uses. */
import { type FileHandle, lstat, open, readdir } from "node:fs/promises";
import { lock } from "../../shared/lock.ts";
import { listImages, runBuildah, sweepContainers } from "./image.ts";
import { openPulledImages, type PulledImage } from "./pulled-images.ts";
import { containerOf } from "./working-containers.ts";

interface PruningSettings {
  readonly state: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Has whatever waits for a run of an image with this layer on top let go of it. */
  readonly release?: (layer: string) => Promise<void>;
}

interface Limits {
  /** In bytes: so much may stay. */
  readonly keep: number;
  /** What a run used so short a time ago stays too, in milliseconds. */
  readonly lately: number;
}

export interface RemovedImage {
  readonly id: string;
  readonly names: readonly string[];
  /** What it took on the disk, less what other images still need. */
  readonly bytes: number;
}

/** Those go first that were not used for the longest time. An image that somebody has given another name stays. */
export async function pruneImages(
  { keep, lately }: Limits,
  settings: PruningSettings,
): Promise<RemovedImage[]> {
  await sweepContainers(settings);
  const pulled = openPulledImages(settings.state);
  const there = new Map((await listImages(settings)).map(({ id, names }) => [id, names]));
  const removed: RemovedImage[] = [];
  let total = 0;
  for (const image of pulled.list()) {
    const names = there.get(image.id);
    if (!names) {
      pulled.forget(image.id); // Somebody else removed it.
      continue;
    }
    const sizes = await sizesOf(image.layers, settings);
    total += sumOf(sizes.values());
    const isOurs = names.every((name) => image.names.includes(name));
    if (total <= keep || !isOurs || Date.now() - image.used.getTime() < lately) continue;
    if (!(await remove(image, names, settings))) continue;
    pulled.forget(image.id);
    const left = await sizesOf(image.layers, settings);
    const bytes = sumOf([...sizes].map(([layer, size]) => (left.has(layer) ? 0 : size)));
    total -= bytes;
    removed.push({ id: image.id, names, bytes });
  }
  return removed;
}

/** @returns false where somebody uses it. */
async function remove(
  { id, layers }: PulledImage,
  names: readonly string[],
  settings: PruningSettings,
): Promise<boolean> {
  let top: FileHandle | undefined;
  try {
    if (layers[0] !== undefined) await settings.release?.(layers[0]);
    // A run that begins meanwhile does not get its own lock, and tells so.
    top = layers[0] === undefined ? undefined : await open(layers[0]);
    if (top && !(await lock(top))) return false;
    // A storage without overlays has the files in a container that stays. Elsewhere one is there only while a run asks
    // where its layers are, and keeps the image.
    if (top && !/\/overlay\//.test(layers[0] ?? "")) {
      await runBuildah(["rm", containerOf(id)], settings).catch(() => {});
    }
    // Of several names, each takes one away; with the last one goes the image.
    for (const name of names.length > 0 ? names : [id]) await runBuildah(["rmi", name], settings);
    return true;
  } catch {
    settings.signal.throwIfAborted();
    return false; // A container of podman's or buildah's has it.
  } finally {
    await top?.close();
  }
}

const sumOf = (sizes: Iterable<number>) => [...sizes].reduce((sum, size) => sum + size, 0);

/** Of the folders that are there, in bytes on the disk. */
async function sizesOf(
  folders: readonly string[],
  { signal }: PruningSettings,
): Promise<ReadonlyMap<string, number>> {
  const sizes = new Map<string, number>();
  for (const folder of folders) {
    const size = await sizeOf(folder, signal);
    if (size !== undefined) sizes.set(folder, size);
  }
  return sizes;
}

/** @returns undefined for what is not there. What cannot be read counts as nothing. */
async function sizeOf(path: string, signal: AbortSignal): Promise<number | undefined> {
  signal.throwIfAborted();
  const stat = await lstat(path).catch(() => undefined);
  if (!stat) return undefined;
  // A file takes its share for each of its names.
  if (!stat.isDirectory()) return (stat.blocks * 512) / stat.nlink;
  let size = stat.blocks * 512;
  for (const name of await readdir(path).catch(() => []))
    size += (await sizeOf(`${path}/${name}`, signal)) ?? 0;
  return Math.round(size);
}
