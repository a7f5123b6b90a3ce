/** The terminal behind a stream: what a container's terminal takes its size from. */
import type { Writable } from "node:stream";
import { WriteStream } from "node:tty";
import type { TerminalSize } from "../supervisor/orders.ts";

/** Where there is no terminal, or one that does not know its size, it is 0 by 0. */
export function sizeOf(stream: Writable): TerminalSize {
  const { columns = 0, rows = 0 } = stream instanceof WriteStream ? stream : {};
  return { columns, rows };
}
