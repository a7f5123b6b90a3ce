/**
 * 1Password's own command, for a user's own broker without a token: it is signed in by the desktop app, or by `op signin`.
 * One `op inject` reads all that is asked for. Where that fails, one `op read` for each says which of them, and why.
 */
import { randomBytes } from "node:crypto";
import type { OpClient } from "./op-client.ts";
import type { WorkerResult } from "./op-worker.ts";
import { SourceFailure } from "./provider.ts";

/** Of what the command prints, in bytes. */
const outputLimit = 8 * 1024 * 1024;

type Environment = Readonly<Record<string, string | undefined>>;

interface Ended {
  readonly code: number | null;
  readonly output: Buffer;
  readonly said: string;
}

export function createOpCommand(environment: Environment): OpClient {
  async function readAlone(reference: string, signal: AbortSignal): Promise<WorkerResult> {
    const { code, output, said } = await op(["read", "--no-newline", reference], "", environment, signal);
    return code === 0 ? found(reference, output) : { error: kindOf(said) };
  }

  return {
    async resolveAll(references, signal) {
      const [first] = references;
      if (references.length < 2) return first === undefined ? [] : [await readAlone(first, signal)];
      // Nobody can guess it, so no value contains it.
      const mark = randomBytes(16).toString("hex");
      const template = references.map((reference) => `{{ ${reference} }}${mark}`).join("");
      const { code, output } = await op(["inject"], template, environment, signal);
      const values = code === 0 ? split(output, Buffer.from(mark)) : [];
      if (values.length === references.length) {
        return references.map((reference, nth) => found(reference, values[nth] as Buffer));
      }
      const results: WorkerResult[] = [];
      // One after another: each may ask the user for a finger.
      for (const reference of references) results.push(await readAlone(reference, signal));
      return results;
    },

    close: async () => {},
  };
}

/** The command says neither vault nor item: those that were asked for. */
function found(reference: string, value: Buffer): WorkerResult {
  const [vault = "", item = ""] = reference.slice(reference.indexOf("://") + 3).split("/");
  return { value: Uint8Array.from(value), vault, item };
}

function split(output: Buffer, mark: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  let from = 0;
  for (let at = output.indexOf(mark); at >= 0; at = output.indexOf(mark, from)) {
    parts.push(output.subarray(from, at));
    from = at + mark.length;
  }
  return parts;
}

/** The kinds that the SDK has. The first that fits counts; nothing of the text is told. */
const kinds: readonly [RegExp, string][] = [
  [/isn't a vault|no vault/i, "vaultNotFound"],
  [/more than one item|multiple items/i, "tooManyItems"],
  [/isn't an item|could not (?:find|get) item|no item/i, "itemNotFound"],
  [/does not have a section|isn't a section/i, "noMatchingSections"],
  [/does not have a field|isn't a field/i, "fieldNotFound"],
];

function kindOf(said: string): string {
  if (/sign(?:ed)? ?in|no accounts? configured|authoriz|dismissed|desktop app|session expired/i.test(said)) {
    const detail =
      "the op command is not signed in: run `op signin`, or turn on its integration in the 1Password app";
    throw new SourceFailure("provider_denied", { detail });
  }
  return kinds.find(([text]) => text.test(said))?.[1] ?? "other";
}

function op(
  args: readonly string[],
  input: string,
  environment: Environment,
  signal: AbortSignal,
): Promise<Ended> {
  // Loaded here, because start-up is most of what a run costs.
  const { spawn } = process.getBuiltinModule("node:child_process");
  return new Promise((resolve, reject) => {
    const child = spawn("op", args, { env: environment as NodeJS.ProcessEnv, signal, killSignal: "SIGKILL" });
    const [output, said]: [Buffer[], Buffer[]] = [[], []];
    let size = 0;
    const keep = (chunks: Buffer[]) => (chunk: Buffer) => {
      size += chunk.length;
      if (size <= outputLimit) chunks.push(chunk);
      else child.kill("SIGKILL");
    };
    child.stdout.on("data", keep(output));
    child.stderr.on("data", keep(said));
    // A command that does not read its input has said why.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    child.once("error", ({ code }: NodeJS.ErrnoException) => {
      const missing = "OP_SERVICE_ACCOUNT_TOKEN is not set, and there is no `op` command on the PATH";
      reject(
        signal.aborted
          ? new SourceFailure("provider_timeout", { detail: "the op command" })
          : new SourceFailure("provider_failed", {
              detail: code === "ENOENT" ? missing : `the op command does not start (${code})`,
            }),
      );
    });
    child.once("close", (code) => {
      if (size > outputLimit)
        reject(new SourceFailure("provider_failed", { detail: "the op command prints too much" }));
      else resolve({ code, output: Buffer.concat(output), said: Buffer.concat(said).toString() });
    });
  });
}
