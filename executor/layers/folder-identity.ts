/** Which folders these are now, whatever their names stood for before; an empty word for one that is not there. */
import { statSync } from "node:fs";

export const identityOf = (folders: readonly string[]): string =>
  folders
    .map((folder) => {
      const stat = statSync(folder, { bigint: true, throwIfNoEntry: false });
      return stat ? `${stat.dev}:${stat.ino}` : "";
    })
    .join(" ");
