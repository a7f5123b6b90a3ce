/**
 * The images that were pulled for runs: only these are removed again. A folder with a file for each, named by the image's
 * id; its time of modification tells when a run used the image last.
 *
 *   {"names":[NAME, …],"layers":[FOLDER, …]}    the names that the pull gave it; the folders of its files
 */
import { readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import * as z from "zod/mini";
import { makeFolder } from "../../shared/make-folder.ts";

const Note = z.strictObject({ names: z.array(z.string()), layers: z.array(z.string()) });

export interface PulledImage extends z.infer<typeof Note> {
  readonly id: string;
  readonly used: Date;
}

export function openPulledImages(state: string) {
  const folder = `${state}/images/pulled`;
  const pathOf = (id: string) => `${folder}/${id}`;

  function read(id: string): PulledImage | undefined {
    try {
      const { mtime: used } = statSync(pathOf(id));
      return { id, used, ...Note.parse(JSON.parse(readFileSync(pathOf(id), "utf8"))) };
    } catch {
      return undefined;
    }
  }

  /** An image without its note is never removed; that is all that goes wrong where the note cannot be written. */
  function write(id: string, note: z.infer<typeof Note>): void {
    const draft = `${pathOf(id)}.${process.pid}`;
    try {
      makeFolder(folder);
      writeFileSync(draft, JSON.stringify(note), { mode: 0o600 });
      renameSync(draft, pathOf(id));
    } catch {
      rmSync(draft, { force: true });
    }
  }

  return {
    /** It was pulled just now, and was not in the storage before. */
    note: (id: string, names: readonly string[]): void => write(id, { names: [...names], layers: [] }),

    /** A run is about to use it. @returns whether it is the first one since it was pulled. */
    use({ id, layers }: { readonly id: string; readonly layers: readonly string[] }): boolean {
      try {
        const now = new Date();
        utimesSync(pathOf(id), now, now);
      } catch {
        return false; // It was not pulled for a run.
      }
      const noted = read(id);
      if (!noted || noted.layers.length > 0) return false;
      write(id, { names: noted.names, layers: [...layers] });
      return true;
    },

    /** The one that was used last first. */
    list(): PulledImage[] {
      let ids: string[] = [];
      try {
        ids = readdirSync(folder).filter((name) => /^[0-9a-f]{64}$/.test(name));
      } catch {
        return [];
      }
      const all = ids.flatMap((id) => read(id) ?? []);
      return all.sort((a, b) => b.used.getTime() - a.used.getTime());
    },

    forget: (id: string): void => rmSync(pathOf(id), { force: true }),
  };
}
