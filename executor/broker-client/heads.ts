/**
 * The heads of brokers' audit logs that came with redemptions. The newest of each chain is kept, so that a log which
 * was cut or turned back after it is found by `claimcheck audit verify --head`. A file is called `CHAIN.TIME`, by the
 * broker's clock in microseconds: of runs at once each writes its own and removes older ones, so that the newest is the
 * one that stays.
 */
import { randomUUID } from "node:crypto";
import { readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type AuditHead, peekAuditHead } from "../../shared/audit-head.ts";
import { Failure } from "../../shared/failure.ts";
import { makeFolder } from "../../shared/make-folder.ts";

export type KeepHeads = (heads: readonly string[]) => Promise<void>;

/** @param folder is made when the first head comes. */
export function headsIn(folder: string): KeepHeads {
  return async (heads) => {
    try {
      for (const head of heads) await keep(folder, head, peekAuditHead(head));
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      throw new Failure("state_unusable", { detail: `${folder} cannot be written (${code})`, cause });
    }
  };
}

async function keep(folder: string, head: string, { chain, iat }: AuditHead): Promise<void> {
  const nameOf = (time: string) => `${chain}.${time}`;
  const own = String(Math.round(iat * 1e6)).padStart(16, "0");
  makeFolder(folder);
  const others = (await readdir(folder))
    .filter((name) => name.startsWith(nameOf("")))
    .map((name) => name.slice(nameOf("").length));
  if (others.some((other) => Number(other) >= Number(own))) return;
  const draft = join(folder, `.${randomUUID()}`);
  await writeFile(draft, `${head}\n`, { mode: 0o600 });
  await rename(draft, join(folder, nameOf(own)));
  await Promise.all(others.map((other) => rm(join(folder, nameOf(other)), { force: true })));
}
