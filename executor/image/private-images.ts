/**
 * Which images of a host's storage were pulled with a password: others may only have them if the registry gives them out
 * to those others too. A folder with a file for each:
 *
 *   FOLDER/ID                   an image by its id
 *   FOLDER/REPOSITORY.RANDOM    some image of a repository (its name's SHA-256), while it is pulled, and after a crash
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { Failure } from "../../shared/failure.ts";
import { makeFolder } from "../../shared/make-folder.ts";
import { fullRepository, parseImageName } from "./name.ts";

interface Stored {
  readonly id: string;
  /** All names that the storage has for it. */
  readonly names: readonly string[];
}

export type PrivateImages = ReturnType<typeof openPrivateImages>;

export function openPrivateImages(folder: string) {
  const repositoryOf = (name: string) =>
    createHash("sha256")
      .update(fullRepository(parseImageName(name).repository))
      .digest("hex");

  function note(path: string): void {
    try {
      makeFolder(folder);
      writeFileSync(path, "", { mode: 0o600 });
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      throw new Failure("state_unusable", { detail: `${path} cannot be written (${code})`, cause });
    }
  }

  return {
    has({ id, names }: Stored): boolean {
      if (existsSync(`${folder}/${id}`)) return true;
      const pulled = existsSync(folder) ? readdirSync(folder).filter((file) => file.includes(".")) : [];
      return names.map(repositoryOf).some((prefix) => pulled.some((file) => file.startsWith(prefix)));
    },

    /** Has somebody pull it: at no moment is it in the storage and not noted here. */
    async during<T extends Stored>(name: string, pulling: () => Promise<T>): Promise<T> {
      const mark = `${folder}/${repositoryOf(name)}.${randomBytes(6).toString("hex")}`;
      note(mark);
      // After a crash the mark stays, and what the storage may have got meanwhile is private.
      try {
        const image = await pulling();
        note(`${folder}/${image.id}`);
        return image;
      } finally {
        rmSync(mark, { force: true });
      }
    },

    /** Everybody may have it after all. */
    forget({ id }: Stored): void {
      rmSync(`${folder}/${id}`, { force: true });
    },
  };
}
