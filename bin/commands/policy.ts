/** claimcheck policy: what a policy file says, and what is wrong with it. */
import { readFile } from "node:fs/promises";
import { Command, Option } from "commander";
import { readClaims } from "../../broker/authn/claims.ts";
import { type Action, actions } from "../../shared/actions.ts";
import { Failure } from "../../shared/failure.ts";
import { printable } from "../../shared/printable.ts";
import { printFaults } from "../host/print-faults.ts";

/** As of a test that did not pass. */
const negative = 1;

export function policyCommand(): Command {
  return new Command("policy")
    .description("Check or explain a policy file without a broker.")
    .addCommand(
      new Command("check")
        .description("Print every fault in the file; exit code 1 if there is one.")
        .argument("<file>", "the policy file (YAML)")
        .action(check),
    )
    .addCommand(
      new Command("explain")
        .description(
          "Print which rule decides, why, and its limits; exit code 1 if the policy denies the request.",
        )
        .argument("<file>", "the policy file (YAML)")
        .option("--as <FILE>", "the claims of a token, as JSON")
        .option("--token <FILE>", "a token itself; its signature is not checked")
        .option("--uri <URI>", "the secret, as the audit log spells it; not for audit.read")
        .addOption(
          new Option("--action <ACTION>", "the action that the request asks for")
            .choices(actions)
            .default("issue"),
        )
        .action(explainQuestion),
    )
    .addCommand(
      new Command("schema").description("Print the file's JSON Schema, for editors.").action(printSchema),
    );
}

async function load(path: string) {
  const [{ loadPolicy }, { remoteKeys }, { secretPatterns }] = await Promise.all([
    import("../../broker/policy/file.ts"),
    import("../../broker/authn/issuer-keys.ts"),
    import("../serve-broker/secret-patterns.ts"),
  ]);
  const loaded = loadPolicy(await read(path), remoteKeys, secretPatterns);
  if (!("faults" in loaded)) return loaded;
  printFaults(path, loaded.faults);
  return undefined;
}

async function check(path: string): Promise<void> {
  const loaded = await load(path);
  if (loaded) process.stdout.write(`${printable(path)} is in order: ${loaded.rules.length} rules\n`);
  else process.exitCode = negative;
}

async function explainQuestion(
  path: string,
  { as, token, uri, action }: { as?: string; token?: string; uri?: string; action: Action },
): Promise<void> {
  if (action === "audit.read" && uri !== undefined) {
    throw new Failure("usage", { detail: "audit.read is about no secret: leave out --uri" });
  }
  // Without one, revoking is about all handles of a run, a principal or the tenant.
  if (action !== "audit.read" && action !== "revoke" && uri === undefined) {
    throw new Failure("usage", { detail: `${action} is about one secret: name it with --uri` });
  }
  const { explain } = await import("../../broker/policy/explain.ts");
  const claims = await readCaller(as, token);
  const loaded = await load(path);
  if (!loaded) throw new Failure("usage", { detail: `${path} has faults` });
  const { allowed, text } = explain(loaded, { claims, action, ...(uri !== undefined && { uri }) });
  process.stdout.write(text);
  if (!allowed) process.exitCode = negative;
}

async function printSchema(): Promise<void> {
  const { policySchema } = await import("../../broker/policy/schema.ts");
  process.stdout.write(`${JSON.stringify(policySchema(), undefined, 2)}\n`);
}

function read(path: string): Promise<string> {
  return readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new Failure("usage", { detail: `${path} cannot be read (${cause.code})`, cause });
  });
}

/** Who asks. Whose signature a token has, and until when it counts, a broker decides; here it only says who it would be. */
async function readCaller(as?: string, token?: string): Promise<Record<string, unknown>> {
  if (as !== undefined && token === undefined) {
    return parseClaims(await read(as), `${as} is not a JSON object of claims`);
  }
  if (token !== undefined && as === undefined) {
    const [, payload = ""] = (await read(token)).split(".");
    return parseClaims(Buffer.from(payload, "base64url").toString(), `${token} holds no JSON Web Token`);
  }
  throw new Failure("usage", { detail: "say who asks, by --as FILE with claims or by --token FILE" });
}

/** @param fault what to say where there are none: a parser's message would quote the file. */
function parseClaims(text: string, fault: string): Record<string, unknown> {
  try {
    return readClaims(text);
  } catch {
    throw new Failure("usage", { detail: fault });
  }
}
