/** An audit log in a file that only its owner reads. A line is on the disk before what it records happens. */
import { type FileHandle, open } from "node:fs/promises";
import type { AuditSink } from "./log.ts";

/** @throws when the file cannot be opened for appending. */
export async function fileSink(path: string): Promise<AuditSink> {
  const file = await open(path, "a", 0o600);
  // One write and one sync at a time, in the order of the calls; after a failure the order is broken for good.
  let last: Promise<void> = Promise.resolve();
  return {
    append(lines) {
      last = last.then(() => writeDurably(file, lines));
      return last;
    },
    async close() {
      await last.catch(() => {});
      await file.close();
    },
  };
}

async function writeDurably(file: FileHandle, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const { bytesWritten } = await file.write(bytes, written);
    written += bytesWritten;
  }
  await file.datasync();
}
