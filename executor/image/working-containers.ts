/**
 * The buildah working containers that runs make for a moment, to ask where an image's layers are. One that stays would keep
 * its image in use, so each has a note in a folder, from before buildah makes it until it is gone:
 *
 *   FOLDER/ID.RANDOM    of an image by its id; locked by this process, and by the buildah that makes the container
 *
 * Where nobody has the lock any more, its run was killed, and the next run removes the container. A folder belongs to one
 * state folder: no executor removes what another one makes.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { Failure } from "../../shared/failure.ts";
import { lock } from "../../shared/lock.ts";
import { makeFolder } from "../../shared/make-folder.ts";

interface Surroundings {
  readonly state: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

interface Note {
  readonly path: string;
  readonly file: FileHandle;
}

export const containerOf = (id: string) => `claimcheck-${id}`;

export function openWorkingContainers({ state, environment, signal }: Surroundings) {
  const folder = `${state}/images/working`;
  const names = /^([0-9a-f]{64})\.[0-9a-f]+$/;

  /** @returns nothing where a sweep came between: it took the note for one of a run that was killed. */
  async function tryToNote(id: string): Promise<Note | undefined> {
    const path = `${folder}/${id}.${randomBytes(6).toString("hex")}`;
    let file: FileHandle | undefined;
    try {
      makeFolder(folder);
      file = await open(path, "wx", 0o600);
      if ((await lock(file)) && existsSync(path)) return { path, file };
      await file.close();
      return undefined;
    } catch (cause) {
      await file?.close();
      const { code, message } = cause as NodeJS.ErrnoException;
      throw new Failure("state_unusable", { detail: `${path} cannot be locked (${code ?? message})`, cause });
    }
  }

  async function note(id: string): Promise<Note> {
    for (;;) {
      const noted = await tryToNote(id);
      if (noted) return noted;
    }
  }

  return {
    /** Makes one, unless there is one. It is noted until `isGone` is called; where it is not, the next run removes it. */
    async make(id: string): Promise<{ isGone(): void; close(): Promise<void> }> {
      const { path, file } = await note(id);
      const buildah = spawn("buildah", ["from", "--pull-never", "--name", containerOf(id), id], {
        env: environment,
        signal,
        // It may outlive this process, and keeps the lock until it ends.
        stdio: ["ignore", "ignore", "ignore", file.fd],
      });
      await once(buildah, "close").catch(() => {});
      return {
        isGone: () => rmSync(path, { force: true }),
        close: () => file.close(),
      };
    },

    /** Removes those whose runs were killed. @param remove what removes a container. */
    async sweep(remove: (container: string) => Promise<unknown>): Promise<void> {
      if (!existsSync(folder)) return;
      for (const name of readdirSync(folder)) {
        const id = names.exec(name)?.[1];
        const file = id && (await open(`${folder}/${name}`).catch(() => undefined));
        if (!file) continue;
        try {
          if (!(await lock(file).catch(() => false))) continue;
          // Somebody else may have removed it.
          await remove(containerOf(id)).catch(() => signal.throwIfAborted());
          rmSync(`${folder}/${name}`, { force: true });
        } finally {
          await file.close();
        }
      }
    },
  };
}
