/**
 * Puts secrets into an OCI configuration. It knows nothing of where the configuration comes from or which
 * engine runs it, and the result is bytes: a value is never part of a string.
 */
import { isUtf8 } from "node:buffer";
import { randomBytes } from "node:crypto";
import { Failure } from "../../shared/failure.ts";
import type { Secret } from "../../shared/secret.ts";

/** The longest `NAME=value` that Linux hands to a program, without the NUL (MAX_ARG_STRLEN, execve(2)). */
const variableLimit = 128 * 1024 - 1;

export interface InjectedVariable {
  readonly name: string;
  readonly value: Secret;
}

export interface InjectedFile {
  /** The path in the container. */
  readonly path: string;
  readonly value: Secret;
  readonly mode: number;
  readonly owner: { readonly uid: number; readonly gid: number };
}

interface Configuration {
  readonly process: { readonly env: readonly string[] };
}

/** @returns the files for the bundle, to be wiped after use. */
export const injectFiles = (files: readonly InjectedFile[]) =>
  files.map(({ path, value, mode, owner }, index) => ({
    name: `secret-${index}`,
    target: path,
    // Also to root: what a container writes there would be lost.
    readOnly: true,
    bytes: value.expose(),
    mode,
    uid: owner.uid,
    gid: owner.gid,
  }));

/**
 * @param configuration an OCI runtime configuration; it is left as it is.
 * @param variables the last one of a name wins, also over the configuration's own.
 * @returns the configuration's JSON with the variables in it, to be wiped after use.
 * @throws {Failure} `secret_not_text` for a value that an environment cannot carry byte for byte.
 */
export function injectVariables(
  configuration: Configuration,
  variables: readonly InjectedVariable[],
): Buffer {
  const injected = new Map(variables.map((variable) => [variable.name, variable]));
  // Stands where the secrets will be. Random, so that nothing in the configuration can be mistaken for it.
  const marker = randomBytes(16).toString("hex");
  const env = configuration.process.env.filter((variable) => !injected.has(variable.split("=", 1)[0] ?? ""));
  const json = JSON.stringify({
    ...configuration,
    process: { ...configuration.process, env: [...env, marker] },
  });
  const [before = "", after = ""] = json.split(`"${marker}"`);

  const encoded: Buffer[] = [];
  try {
    for (const variable of injected.values()) encoded.push(encodeVariable(variable));
    const separated = encoded.flatMap((bytes, index) => (index === 0 ? [bytes] : [Buffer.from(","), bytes]));
    // Without secrets the marker's place stays empty, and so does the comma before it.
    const start = encoded.length === 0 ? before.replace(/,$/, "") : before;
    return Buffer.concat([Buffer.from(start), ...separated, Buffer.from(after)]);
  } finally {
    for (const bytes of encoded) bytes.fill(0);
  }
}

/** `"NAME=value"` in JSON (RFC 8259, section 7), escaped as bytes. */
function encodeVariable({ name, value }: InjectedVariable): Buffer {
  const bytes = value.expose();
  if (bytes.includes(0)) throw new Failure("secret_not_text", { detail: `${name} has a NUL byte` });
  if (!isUtf8(bytes)) throw new Failure("secret_not_text", { detail: `${name} is not UTF-8` });
  const start = Buffer.from(JSON.stringify(`${name}=`).slice(0, -1));
  if (Buffer.byteLength(name) + 1 + bytes.length > variableLimit) {
    throw new Failure("secret_not_text", { detail: `${name} is longer than ${variableLimit} bytes` });
  }

  const quote = 0x22;
  const backslash = 0x5c;
  const out = Buffer.alloc(start.length + 6 * bytes.length + 1);
  let at = start.copy(out);
  for (const byte of bytes) {
    if (byte === quote || byte === backslash) {
      out[at++] = backslash;
      out[at++] = byte;
    } else if (byte < 0x20) {
      at += out.write(`\\u00${byte.toString(16).padStart(2, "0")}`, at, "latin1");
    } else {
      out[at++] = byte;
    }
  }
  out[at++] = quote;
  return out.subarray(0, at);
}
