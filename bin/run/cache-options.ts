/** What `claimcheck run` and `claimcheck cache` call the cache's flags. */
import { Option } from "commander";
import { named, parseSize } from "../../executor/plan/quantities.ts";
import { containerFolder } from "../host/environment.ts";

const gibibyte = 1024 ** 3;

export const cacheFolderOption = () =>
  new Option("--cache-dir <FOLDER>", "the folder of the cached results")
    .env("CLAIMCHECK_CACHE_DIR")
    .default(`${containerFolder(process.env)}/cache`);

export const cacheSizeOption = () =>
  new Option(
    "--cache-size <SIZE>",
    "the cache's maximum size, such as 500m; the least recently used results are removed",
  )
    .argParser(named("--cache-size", parseSize))
    .default(10 * gibibyte, "10g");
