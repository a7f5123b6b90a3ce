/**
 * A folder, and those around it. Node.js has an option for it, which goes round for ever where a folder cannot be made
 * and does not exist, as in /proc (nodejs/node, `mkdir` with `recursive`).
 */
import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** Only this user's, where it is not there. @throws what `mkdir` throws. */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" && dirname(path) !== path) {
      makeFolder(dirname(path));
      makeLast(path);
    } else if (!isFolder(path)) throw error;
  }
}

/** Somebody else may be doing the same. */
function makeLast(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (!isFolder(path)) throw error;
  }
}

const isFolder = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
