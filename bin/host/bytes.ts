/**
 * What Node.js has decoded before we see it: variables and arguments. It puts U+FFFD in the place of bytes that are not
 * UTF-8, so a secret with such bytes would arrive changed, and nobody would mask it. Linux still has the bytes: those of
 * this process, or where the TypeScript front end started it, those of the program, named by CLAIMCHECK_ENVIRON.
 */
import { isUtf8 } from "node:buffer";
import { readFileSync } from "node:fs";
import type { Environment } from "../../broker/providers/environment.ts";
import { Failure } from "../../shared/failure.ts";

const replacement = "\ufffd";

/** @returns the entries of a file in /proc, one character a byte; undefined where it cannot be read. */
function entriesOf(file: string): string[] | undefined {
  try {
    return readFileSync(file, "latin1").split("\0").slice(0, -1);
  } catch {
    return undefined;
  }
}

/**
 * The same variables, with the bytes of those that are not UTF-8, and `null` for those that this system cannot tell from
 * them. A variable whose name is not UTF-8 is left out: nobody can ask for it.
 */
export function withBytes(variables: Readonly<Record<string, string | undefined>>): Environment {
  const all = Object.entries(variables);
  if (!all.some((variable) => variable.join().includes(replacement))) return variables;
  const entries = entriesOf(variables.CLAIMCHECK_ENVIRON ?? "/proc/self/environ");
  const bytesOf = (name: string, text: string) => {
    if (!entries) return null;
    const prefix = `${Buffer.from(name).toString("latin1")}=`;
    // As getenv(3) does: of two with one name, the first.
    const entry = entries.find((each) => each.startsWith(prefix)) ?? "";
    const bytes = Buffer.from(entry.slice(prefix.length), "latin1");
    return isUtf8(bytes) ? text : bytes;
  };
  return Object.fromEntries(
    all
      .filter(([name]) => !name.includes(replacement))
      .map(([name, text]) => [name, text?.includes(replacement) ? bytesOf(name, text) : text]),
  );
}

/** @throws {Failure} `usage` for an argument that is not UTF-8, because it would arrive changed. */
export function checkArguments(args: readonly string[]): void {
  if (!args.some((arg) => arg.includes(replacement))) return;
  const given = entriesOf("/proc/self/cmdline")?.slice(-args.length);
  const index = args.findIndex(
    (arg, at) => arg.includes(replacement) && !isUtf8(Buffer.from(given?.[at] ?? "\xff", "latin1")),
  );
  if (index < 0) return;
  throw new Failure("usage", {
    detail: `argument ${index + 1} is not UTF-8, and would arrive changed; put these bytes into a file`,
  });
}

/** The text of a file. @throws {Failure} `usage` with the line of what is not UTF-8. */
export function decodeText(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    const lines = Buffer.from(bytes).toString("latin1").split("\n");
    const line = lines.findIndex((each) => !isUtf8(Buffer.from(each, "latin1"))) + 1;
    throw new Failure("usage", { detail: `${name}:${line}: this line is not UTF-8` });
  }
}
