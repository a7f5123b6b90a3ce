/** claimcheck policy: what a policy file says, and what is wrong with it. */
import { readFile } from "node:fs/promises";
import { Command, Option } from "commander";
import { readClaims } from "../../broker/authn/claims.ts";
import { type Action, actions } from "../../broker/authn/roles.ts";
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
        .requiredOption("--as <FILE>", "the claims of a token, as JSON")
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
  { as, uri, action }: { as: string; uri?: string; action: Action },
): Promise<void> {
  if (action === "audit.read" && uri !== undefined) {
    throw new Failure("usage", { detail: "audit.read is about no secret: leave out --uri" });
  }
  // Without one, revoking is about all handles of a run, a principal or the tenant.
  if (action !== "audit.read" && action !== "revoke" && uri === undefined) {
    throw new Failure("usage", { detail: `${action} is about one secret: name it with --uri` });
  }
  const { explain } = await import("../../broker/policy/explain.ts");
  const claims = parseClaims(await read(as), as);
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

function parseClaims(text: string, path: string): Record<string, unknown> {
  try {
    return readClaims(text);
  } catch {
    // Told below: a parser's message would quote the file.
  }
  throw new Failure("usage", { detail: `${path} is not a JSON object of claims` });
}
