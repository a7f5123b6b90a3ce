/** Notices that a file was replaced. */
import { watch } from "node:fs";
import { basename, dirname } from "node:path";

/**
 * Watches the folder, because editors put a new file in the place of the old one, and Kubernetes a new link named
 * `..data` beside it.
 *
 * @returns what ends it. Where nothing can be watched there is still SIGHUP.
 */
export function watchFile(path: string, onChange: () => void): () => void {
  const names = [basename(path), "..data"];
  const watcher = watch(dirname(path), { persistent: false }, (_, name) => {
    if (name === null || names.includes(name)) onChange();
  });
  watcher.on("error", () => watcher.close());
  return () => watcher.close();
}
