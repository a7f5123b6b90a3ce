/**
 * The secrets of a `.env` file. A line is NAME=VALUE, and may begin with `export`; quotes around a value are no part of
 * it, and nothing is expanded. Lines that are empty or begin with # do not count; of two with one name the last one does.
 */
import { readFileSync } from "node:fs";
import { type Secret, setSecret } from "./secret.ts";

const form = /^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*?)[ \t\r]*$/;

/** One secret for each variable in the file, with its name. They go to the executor as those of `setSecret` do. */
export function envFile(path: string): Secret[] {
  const found = new Map<string, Secret>();
  // One character a byte.
  for (const [index, line] of readFileSync(path, "latin1").split("\n").entries()) {
    if (/^[ \t\r]*(#|$)/.test(line)) continue;
    const [, name, value = ""] = form.exec(line) ?? [];
    if (name === undefined) throw new Error(`${path}:${index + 1}: this is not NAME=VALUE`);
    const [, , inside = value] = /^(["'])(.*)\1$/.exec(value) ?? [];
    found.set(name, setSecret(name, Buffer.from(inside, "latin1")));
  }
  return [...found.values()];
}
