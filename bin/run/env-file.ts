/**
 * The file of `--env-file`, as docker reads it: all that follows the "=" is the value, quotes and blanks too.
 * docs/env-files.md compares this with the `.env` files of `with-secret-variables`.
 */
import { isUtf8 } from "node:buffer";
import { Failure } from "../../shared/failure.ts";
import { limits, readNamed } from "../host/read.ts";

export interface Line {
  readonly name: string;
  /** None where the line is only a name, for the value that this process has. */
  readonly value?: string;
}

/** @throws {Failure} `usage`, with the line. */
export function readDockerEnvFile(path: string): Line[] {
  // A break after the last line begins no other one.
  const lines = Buffer.from(readNamed(`--env-file ${path}`, path, limits.variables))
    .toString("latin1")
    .replace(/\n$/, "")
    .split("\n");
  return lines.flatMap((text, index) => {
    const wrong = (why: string) =>
      new Failure("usage", { detail: `--env-file ${path}:${index + 1}: ${why}` });
    const bytes = Buffer.from(text, "latin1");
    if (!isUtf8(bytes)) throw wrong("this line is not UTF-8");
    const decoded = bytes.toString().replace(/\r$/, "");
    const line = (index === 0 ? decoded.replace(/^\ufeff/, "") : decoded).replace(/^\p{White_Space}+/u, "");
    if (line === "" || line.startsWith("#")) return [];
    if (line.includes("\0")) throw wrong("this line has a NUL byte");
    const [, name = "", value] = /^([^=]*)(?:=(.*))?$/s.exec(line) ?? [];
    if (name === "") throw wrong("this line has no name before the =");
    if (/[ \t]/.test(name)) throw wrong("a name has no blanks, and no export before it; write NAME=VALUE");
    return [{ name, ...(value !== undefined && { value }) }];
  });
}
