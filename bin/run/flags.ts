/**
 * The flags of `claimcheck run` that describe a container, as users of docker and podman know them. Here are those whose
 * order counts: of two variables with one name the last one stays, and --secret-mode is about the --secret-file before it.
 * The others are rows of executor/plan/step-table.ts.
 */
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import type { FieldsWith } from "../../executor/plan/field.ts";
import {
  type BindMount,
  plainStep,
  type SecretFile,
  type SecretSource,
  type Step,
  secretFileDefaults,
} from "../../executor/plan/plan.ts";
import { named, parseMode } from "../../executor/plan/quantities.ts";
import { rowOf, stepFields, type stepTable } from "../../executor/plan/step-table.ts";
import { Failure } from "../../shared/failure.ts";
import { takeCacheKey } from "../../shared/uri.ts";
import { withBytes } from "../host/bytes.ts";
import { readDockerEnvFile } from "./env-file.ts";
import { addTableFlags, readTableFlags } from "./table-flags.ts";

type Variable = { readonly value: string | null } | { readonly source: SecretSource };

const rows = stepFields.map((field) => [field, rowOf(field)] as const);

/** @returns what makes a step of what commander has parsed. */
export function addStepFlags(command: Command, environment: NodeJS.ProcessEnv) {
  const variables = new Map<string, Variable>();
  const secretFiles: SecretFile[] = [];
  const binds: BindMount[] = [];
  let secretInput: SecretSource | undefined;

  /** The last one of a name stays. */
  function put(name: string, variable: Variable): void {
    if (!/^[^=\0]+$/.test(name)) throw usage("the name of a variable is empty");
    variables.delete(name);
    variables.set(name, variable);
  }

  /** @param value the one that this process has where it is missing, if it has one. */
  function putPlain(flag: string, name: string, value?: string): void {
    const variables = withBytes(environment);
    const own = value ?? (Object.hasOwn(variables, name) ? variables[name] : undefined);
    if (own === undefined) return;
    if (typeof own !== "string") {
      throw usage(
        `${flag} ${name}: the value is not UTF-8; hand it on with --secret-file PATH=env://${name}`,
      );
    }
    put(name, { value: own });
  }

  function lastFile(flag: string): SecretFile {
    const last = secretFiles.pop();
    if (!last) throw usage(`${flag} follows the --secret-file that it is about`);
    return last;
  }

  const repeated = (flags: string, description: string, take: (text: string) => void) =>
    command.addOption(new Option(flags, description).argParser(take));

  repeated("--secret-env <NAME=URI>", "put a secret into the environment (repeatable)", (text) => {
    const [name, uri] = splitPair("--secret-env", "NAME=URI", text);
    put(name, { source: takeCacheKey(uri) });
  });
  repeated("--secret-file <PATH=URI>", "put a secret into a file, in memory (repeatable)", (text) => {
    const [path, uri] = splitPair("--secret-file", "PATH=URI", text);
    secretFiles.push({ path, source: takeCacheKey(uri), ...secretFileDefaults });
  });
  repeated(
    "--secret-mode <MODE>",
    "set the mode set the mode of the --secret-file before it (default: 0400)",
    (text) => {
      secretFiles.push({ ...lastFile("--secret-mode"), mode: named("--secret-mode", parseMode)(text) });
    },
  );
  repeated(
    "--secret-owner <USER[:GROUP]>",
    "set the owner set the owner of the --secret-file before it (default: root)",
    (text) => {
      secretFiles.push({ ...lastFile("--secret-owner"), owner: text });
    },
  );
  repeated("--secret-stdin <URI>", "give the command a secret on its standard input", (text) => {
    secretInput = takeCacheKey(text);
  });
  repeated("-e, --env <NAME[=VALUE]>", "set a variable, or hand on this process's (repeatable)", (text) => {
    const at = text.indexOf("=");
    if (at < 0) putPlain("-e", text);
    else putPlain("-e", text.slice(0, at), text.slice(at + 1));
  });
  repeated("--env-file <FILE>", "set the variables in this file, one a line (repeatable)", (path) => {
    for (const { name, value } of readDockerEnvFile(path)) putPlain(`--env-file ${path}:`, name, value);
  });
  repeated("--unsetenv <NAME>", "remove a variable, also one of the image's (repeatable)", (name) =>
    put(name, { value: null }),
  );
  repeated(
    "-v, --volume <SOURCE:TARGET[:ro]>",
    "share a file or folder of this host (repeatable)",
    (text) => {
      binds.push(parseBind(text));
    },
  );

  addTableFlags(command, rows);

  return (args: readonly string[], values: object): Step => {
    const all = [...variables];
    const inOrder: Pick<Step, FieldsWith<typeof stepTable, "flag", "ordered">> = {
      args,
      env: all.flatMap(([name, variable]) => ("value" in variable ? [[name, variable.value] as const] : [])),
      secretVariables: all.flatMap(([name, variable]) =>
        "source" in variable ? [{ name, source: variable.source }] : [],
      ),
      secretFiles,
      ...(secretInput && { secretInput }),
      binds,
    };
    return { ...plainStep, ...readTableFlags(values, rows), ...inOrder };
  };
}

const usage = (detail: string) => new Failure("usage", { detail });

function splitPair(flag: string, form: string, text: string): [before: string, after: string] {
  const at = text.indexOf("=");
  if (at < 1) throw usage(`${flag} takes ${form}`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function parseBind(text: string): BindMount {
  const [source = "", target = "", mode = "rw", ...rest] = text.split(":");
  if (source === "" || target === "" || !["ro", "rw"].includes(mode) || rest.length > 0) {
    throw usage("--volume takes SOURCE:TARGET or SOURCE:TARGET:ro");
  }
  // Docker would make a volume of that name.
  if (!/^[./]/.test(source))
    throw usage(`--volume takes a path of this host; write ./${source} if it is one`);
  return { source: resolve(source), target: target.replace(/(.)\/+$/, "$1"), readOnly: mode === "ro" };
}
