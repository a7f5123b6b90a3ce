/** Files and folders of this host, as a plan carries them. */
import { type Dirent, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import type { PlacedFile } from "./plan.ts";

export interface CopyOptions {
  /** USER[:GROUP], by name or number; root without it. */
  owner?: string;
}

export interface FileOptions extends CopyOptions {
  /** In octal; the file's own permissions without it. */
  mode?: string;
}

/** One file, and what a link leads to where `source` is one. */
export function readFile(path: string, source: string, { mode, owner }: FileOptions): PlacedFile[] {
  return [
    {
      path,
      content: readFileSync(source).toString("base64"),
      mode: mode ?? modeOf(statSync(source).mode),
      ...(owner && { owner }),
    },
  ];
}

/** A folder with all that is in it, in the order of its names. Links in it stay links. */
export function readFolder(path: string, source: string, { owner }: CopyOptions): PlacedFile[] {
  const rest = owner ? { owner } : {};
  const entries = readdirSync(source, { withFileTypes: true }).sort(byName);
  return [
    { path, mode: modeOf(statSync(source).mode), ...rest },
    ...entries.flatMap((entry): PlacedFile[] => {
      const [here, there] = [`${source}/${entry.name}`, `${path === "/" ? "" : path}/${entry.name}`];
      if (entry.isDirectory()) return readFolder(there, here, { ...rest });
      if (entry.isSymbolicLink()) return [{ path: there, link: readlinkSync(here) }];
      if (!entry.isFile()) throw new Error(`${here} is neither a file nor a folder nor a link`);
      const content = readFileSync(here).toString("base64");
      return [{ path: there, content, mode: modeOf(lstatSync(here).mode), ...rest }];
    }),
  ];
}

const modeOf = (mode: number) => `0${(mode & 0o777).toString(8).padStart(3, "0")}`;

/** As bytes: every language has this order. */
const byName = (a: Dirent, b: Dirent) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));
