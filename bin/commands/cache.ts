/** claimcheck cache: what is kept of former runs. */
import { Command, Option } from "commander";
import { prune as pruneResults } from "../../executor/cache/pruning.ts";
import { named, parseSize } from "../../executor/plan/quantities.ts";
import { containerFolder, stateFolder, toolEnvironment } from "../host/environment.ts";
import { cacheFolderOption } from "../run/cache-options.ts";
import { openLayers, openResults } from "../run/results.ts";

interface Options {
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
          new Option("--keep <SIZE>", "remove results until no more than this is left")
            .argParser(named("--keep", parseSize))
            .default(0, "nothing"),
        )
        .addOption(cacheFolderOption())
        .action(prune),
    );
}

const open = ({ cacheDir }: Options) =>
  openResults(cacheDir, stateFolder(process.env), (line) => process.stderr.write(`claimcheck: ${line}\n`));

async function list(options: Options): Promise<void> {
  const store = await open(options);
  for (const { key, used, size } of await store.list()) {
    const image = (await store.read(key))?.image;
    if (image) process.stdout.write(`${key.slice(0, 12)}  ${used.toISOString()}  ${size}  ${image}\n`);
  }
}

async function prune({ keep, ...options }: Options & { readonly keep: number }): Promise<void> {
  const store = await open(options);
  const layers = openLayers(containerFolder(process.env), toolEnvironment(process.env));
  const removed = await pruneResults({ store, layers }, keep);
  await store.sweep();
  const bytes = removed.reduce((sum, { size }) => sum + size, 0);
  process.stdout.write(`removed ${removed.length} results, ${bytes} bytes\n`);
}
