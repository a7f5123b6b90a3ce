/** The user's terminal while it belongs to the container's command: every key goes there as it is, Ctrl-C too. */
import { execFileSync } from "node:child_process";
import type { Readable } from "node:stream";
import { toolEnvironment } from "../host/environment.ts";

/** @param onHangUp called when the terminal is gone. */
export function createKeyboard(onHangUp: () => void) {
  let before: string | undefined;

  function close(): void {
    if (before === undefined) return;
    try {
      stty(before);
    } catch {
      // There is no terminal any more.
    }
    before = undefined;
  }

  return {
    /**
     * Standard input, without the terminal's own echo and line editing. Not by Node's raw mode: that goes on
     * translating line breaks of the output, which garbles programs that draw.
     */
    open(): Readable {
      before = stty("-g").trim();
      process.once("exit", close);
      stty("raw", "-echo");
      return process.stdin.once("end", onHangUp);
    },

    /** The terminal is as it was before; at this process's end that happens by itself. */
    close,
  };
}

function stty(...settings: string[]): string {
  const env = toolEnvironment(process.env);
  return execFileSync("stty", settings, { stdio: ["inherit", "pipe", "ignore"], encoding: "utf8", env });
}
