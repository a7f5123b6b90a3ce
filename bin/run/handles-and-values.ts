/**
 * What `claimcheck run` is given beside a plan: handles that somebody else was issued, and values. Both come from files,
 * handles from CLAIMCHECK_HANDLE_NAME too, and neither ever from an argument, which others on the host can read.
 */
import { type Command, Option } from "commander";
import type { SecretVariable } from "../../executor/plan/plan.ts";
import { Failure } from "../../shared/failure.ts";
import { Secret } from "../../shared/secret.ts";
import { limits, readNamed } from "../host/read.ts";

export interface HandlesAndValues {
  /** By the names that a plan has for them. */
  readonly handles: ReadonlyMap<string, string>;
  readonly values: ReadonlyMap<string, Secret>;
}

const variable = /^CLAIMCHECK_HANDLE_(.+)$/;

/** @returns what was given, once commander has parsed. */
export function addHandleAndValueFlags(command: Command, environment: NodeJS.ProcessEnv): HandlesAndValues {
  const handles = new Map<string, string>();
  const values = new Map<string, Secret>();
  for (const [key, text = ""] of Object.entries(environment)) {
    const name = variable.exec(key)?.[1];
    if (name !== undefined) handles.set(name, text.trim());
  }
  const repeated = (
    flag: string,
    limit: number,
    description: string,
    take: (name: string, content: Uint8Array) => void,
  ) =>
    command.addOption(
      new Option(`${flag} <NAME=@FILE>`, `${description} (repeatable)`).argParser((text) => {
        const [, name, path] = /^([^=\0]+)=@(.+)$/s.exec(text) ?? [];
        if (name === undefined || path === undefined) {
          throw new Failure("usage", { detail: `${flag} takes NAME=@FILE` });
        }
        take(name, readNamed(`${flag} ${path}`, path, limit));
      }),
    );
  repeated(
    "--handle",
    limits.handle,
    "use the handle in this file for the variable NAME, or for { handle: NAME } in a plan (CLAIMCHECK_HANDLE_NAME)",
    (name, content) => handles.set(name, Buffer.from(content).toString("latin1").trim()),
  );
  repeated(
    "--value",
    limits.value,
    "use the content of this file as the secret for the variable NAME, or for { value: NAME } in a plan",
    (name, content) => values.set(name, new Secret(content)),
  );
  return { handles, values };
}

/** For a command line, which has no other place for them than variables. */
export const asVariables = ({ handles, values }: HandlesAndValues): SecretVariable[] => [
  ...[...handles].map(([name, handle]) => ({ name, source: { handle } })),
  ...[...values.keys()].map((name) => ({ name, source: { value: name } })),
];
