/** Where bytes that are to be forwarded come from. */
import { closeSync, readSync } from "node:fs";
import { Socket } from "node:net";
import type { Readable } from "node:stream";

/** Is done with a chunk when it calls `release`; its memory is then used again. */
type Take = (chunk: Uint8Array, release: () => void) => void;

export interface OutputSource {
  /** Hands over one chunk after the other, no faster than they are released. @returns after the last release. */
  read(take: Take): Promise<void>;
  /**
   * Whoever writes into it has ended. What is in it is read, as much as a pipe holds; then it is closed, though somebody
   * may have been given the other end, and go on writing or never close it.
   */
  finish(): void;
  /** Closes the source, so that whoever writes into it learns that nobody reads. */
  stop(): void;
}

/** Four times what Node reads at once; a pipe of this size or more is emptied with few calls. */
const chunkSize = 256 * 1024;

/** How many chunks are out before reading waits. */
const chunkLimit = 3;

/** The largest pipe that somebody who is not root can make, in bytes (pipe(7)). */
const pipeSize = 1024 * 1024;

/**
 * @param fd the reading end of a pipe, which does not wait; it is closed in the end. The same few buffers are read into
 *   all the time, and they are wiped, because what comes out of a container may be plaintext.
 */
export function pipeSource(fd: number): OutputSource {
  let socket: Socket | undefined;
  let finish: (() => void) | undefined;
  let finishing = false;
  let stopped = false;
  return {
    read: (take) =>
      new Promise((resolve, reject) => {
        const buffers: Buffer[] = [];
        const free: Buffer[] = [];
        let taken = 0;
        let closed = false;
        let left = pipeSize;
        let draining = false;
        const settle = () => {
          if (!closed || (taken > 0 && !opened.errored)) return;
          for (const buffer of buffers) buffer.fill(0);
          resolve();
        };
        const next = () => {
          const buffer = free.pop() ?? Buffer.allocUnsafeSlow(chunkSize);
          if (!buffers.includes(buffer)) buffers.push(buffer);
          return buffer;
        };
        const hand = (buffer: Buffer, length: number) => {
          taken += 1;
          take(buffer.subarray(0, length), () => {
            free.push(buffer);
            taken -= 1;
            if (finishing) drain();
            else if (taken === chunkLimit - 1) opened.resume();
            settle();
          });
        };
        /** Without the event loop, which tells no empty pipe from one that nobody has written to yet. */
        const drain = () => {
          if (draining) return;
          draining = true;
          while (!opened.destroyed && taken < chunkLimit) {
            const buffer = next();
            const read = readNow(fd, buffer.subarray(0, left));
            left -= read.length;
            if (read.length > 0) hand(buffer, read.length);
            else {
              free.push(buffer);
              opened.destroy(read.error);
            }
          }
          draining = false;
        };
        const opened = new Socket({
          fd,
          readable: true,
          writable: false,
          onread: {
            buffer: next,
            callback: (length, bytes) => {
              hand(bytes as Buffer, length);
              return taken < chunkLimit && !finishing;
            },
          },
        });
        socket = opened;
        finish = () => {
          opened.pause();
          drain();
        };
        opened.on("error", reject);
        opened.on("close", () => {
          closed = true;
          settle();
        });
        if (finishing) finish();
        else opened.resume();
      }),
    finish() {
      if (finishing) return;
      finishing = true;
      finish?.();
    },
    stop() {
      if (socket) socket.destroy();
      else if (!stopped) closeSync(fd);
      stopped = true;
    },
  };
}

/** @returns how many bytes there were: none at the end, and where there are none yet. */
function readNow(fd: number, into: Uint8Array): { readonly length: number; readonly error?: Error } {
  try {
    return { length: into.length > 0 ? readSync(fd, into) : 0 };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "EAGAIN" ? { length: 0 } : { length: 0, error: error as Error };
  }
}

/** What is there already. */
export function bytesSource(bytes: Uint8Array): OutputSource {
  return {
    read: (take) => new Promise((release) => take(bytes, release)),
    finish: () => {},
    stop: () => {},
  };
}

/** Any stream: a terminal, a file. */
export function streamSource(stream: Readable): OutputSource {
  let isStopped = false;
  const stop = () => {
    isStopped = true;
    stream.destroy();
  };
  return {
    async read(take) {
      try {
        for await (const chunk of stream) await new Promise<void>((release) => take(chunk, release));
      } catch (error) {
        // A stream calls it an error that it was not read to its end.
        if (!isStopped) throw error;
      }
    },
    finish: stop,
    stop,
  };
}
