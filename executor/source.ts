/** Where bytes that are to be forwarded come from. */
import { closeSync } from "node:fs";
import { Socket } from "node:net";
import type { Readable } from "node:stream";

/** Is done with a chunk when it calls `release`; its memory is then used again. */
type Take = (chunk: Uint8Array, release: () => void) => void;

export interface Source {
  /** Hands over one chunk after the other, no faster than they are released. @returns after the last release. */
  read(take: Take): Promise<void>;
  /** Closes the source, so that whoever writes into it learns that nobody reads. */
  stop(): void;
}

/** Four times what Node reads at once; a pipe of this size or more is emptied with few calls. */
const chunkSize = 256 * 1024;

/** How many chunks are out before reading waits. */
const chunkLimit = 3;

/**
 * @param fd the reading end of a pipe; it is closed in the end. The same few buffers are read into all the time, and
 *   they are wiped, because what comes out of a container may be plaintext.
 */
export function pipeSource(fd: number): Source {
  let socket: Socket | undefined;
  let stopped = false;
  return {
    read: (take) =>
      new Promise((resolve, reject) => {
        const buffers: Buffer[] = [];
        const free: Buffer[] = [];
        let taken = 0;
        let closed = false;
        const settle = () => {
          if (!closed || (taken > 0 && !opened.errored)) return;
          for (const buffer of buffers) buffer.fill(0);
          resolve();
        };
        const opened = new Socket({
          fd,
          readable: true,
          writable: false,
          onread: {
            buffer: () => {
              const buffer = free.pop() ?? Buffer.allocUnsafeSlow(chunkSize);
              if (!buffers.includes(buffer)) buffers.push(buffer);
              return buffer;
            },
            callback: (length, bytes) => {
              const buffer = bytes as Buffer;
              taken += 1;
              take(buffer.subarray(0, length), () => {
                free.push(buffer);
                taken -= 1;
                if (taken === chunkLimit - 1) opened.resume();
                settle();
              });
              return taken < chunkLimit;
            },
          },
        });
        socket = opened;
        opened.on("error", reject);
        opened.on("close", () => {
          closed = true;
          settle();
        });
        opened.resume();
      }),
    stop() {
      if (socket) socket.destroy();
      else if (!stopped) closeSync(fd);
      stopped = true;
    },
  };
}

/** What is there already. */
export function bytesSource(bytes: Uint8Array): Source {
  return { read: (take) => new Promise((release) => take(bytes, release)), stop: () => {} };
}

/** Any stream: a terminal, a file. */
export function streamSource(stream: Readable): Source {
  return {
    async read(take) {
      for await (const chunk of stream) await new Promise<void>((release) => take(chunk, release));
    },
    stop: () => stream.destroy(),
  };
}
