/** claimcheck cache: what is kept of former runs. */
import { Command, Option } from "commander";
import { prune as pruneResults } from "../../executor/cache/pruning.ts";
import { pruneImages } from "../../executor/image/pruning.ts";
import { named, parseSize } from "../../executor/plan/quantities.ts";
import { containerFolder, stateFolder, toolEnvironment } from "../host/environment.ts";
import { cacheFolderOption } from "../run/cache-options.ts";
import { openLayers, openResults } from "../run/results.ts";

interface CacheOptions {
  readonly cacheDir: string;
}

export function cacheCommand(): Command {
  return new Command("cache")
    .description("List or remove cached results.")
    .addCommand(
      new Command("ls")
        .description("Print each result's key, when it was used last, its size in bytes, and its image.")
        .addOption(cacheFolderOption())
        .action(list),
    )
    .addCommand(
      new Command("prune")
        .description("Remove the least recently used results.")
        .addOption(
          new Option("--keep <SIZE>", "keep the most recently used results up to this size")
            .argParser(named("--keep", parseSize))
            .default(0, "nothing"),
        )
        .option("--images", "also remove the images that were pulled for runs and that no run uses")
        .addOption(
          new Option("--format <FORMAT>", "the output format").choices(["text", "json"]).default("text"),
        )
        .addOption(cacheFolderOption())
        .action(prune),
    );
}

const open = ({ cacheDir }: CacheOptions) =>
  openResults(cacheDir, stateFolder(process.env), (line) => process.stderr.write(`claimcheck: ${line}\n`));

async function list(options: CacheOptions): Promise<void> {
  const store = await open(options);
  for (const { key, used, size } of await store.list()) {
    const image = (await store.read(key))?.image;
    if (image) process.stdout.write(`${key.slice(0, 12)}  ${used.toISOString()}  ${size}  ${image}\n`);
  }
}

interface PruneOptions extends CacheOptions {
  readonly keep: number;
  readonly images?: boolean;
  readonly format: "text" | "json";
}

async function prune({ keep, images, format, ...options }: PruneOptions): Promise<void> {
  const store = await open(options);
  const [state, environment] = [containerFolder(process.env), toolEnvironment(process.env)];
  const layers = openLayers(state, environment);
  const results = await pruneResults({ store, layers }, keep);
  await store.sweep();
  const bytes = results.reduce((sum, { size }) => sum + size, 0);
  const { signal } = new AbortController();
  const removed = images ? await pruneImages({ keep, lately: 0 }, { state, environment, signal }) : [];
  if (format === "json") {
    process.stdout.write(`${JSON.stringify({ results: results.length, bytes, images: removed })}\n`);
    return;
  }
  process.stdout.write(`removed ${results.length} results, ${bytes} bytes\n`);
  if (!images) return;
  for (const { id, names, bytes } of removed) {
    process.stdout.write(`removed image ${names[0] ?? id.slice(0, 12)}, ${bytes} bytes\n`);
  }
  const freed = removed.reduce((sum, { bytes }) => sum + bytes, 0);
  process.stdout.write(`removed ${removed.length} images, ${freed} bytes\n`);
}
