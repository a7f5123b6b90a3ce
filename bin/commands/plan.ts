/** claimcheck plan: what a plan file says, without running it. */
import { Command } from "commander";
import type { PlanFields, SecretSource } from "../../executor/plan/plan.ts";
import type { Path } from "../../shared/field-path.ts";
import { printFaults } from "../host/print-faults.ts";

export function planCommand(): Command {
  return new Command("plan")
    .description("Check or print a plan file without running it.")
    .addCommand(
      new Command("check")
        .description("Print every fault in the file; exit code 1 if there is one.")
        .argument("<file>", "the plan file (YAML or JSON)")
        .action(check),
    )
    .addCommand(
      new Command("hash")
        .description("Print the plan's hash, which a handle for this plan alone carries.")
        .argument("<file>", "the plan file (YAML or JSON)")
        .action(printHash),
    )
    .addCommand(
      new Command("schema").description("Print the file's JSON Schema, for editors.").action(printSchema),
    );
}

async function check(path: string): Promise<void> {
  const [{ readPlanFile }, { checkPlan }, { uriChecker }] = await Promise.all([
    import("../run/plan-file.ts"),
    import("../../executor/plan/check.ts"),
    import("../serve-broker/check-uri.ts"),
  ]);
  const checkUri = uriChecker(process.env);
  const read = await readPlanFile(path, {
    check(plan, { report, readIn }) {
      checkPlan(plan, report);
      for (const { at, uri } of urisOf(plan)) readIn(at)([], () => checkUri(uri), undefined);
    },
  });
  if ("faults" in read) {
    printFaults(path, read.faults);
    process.exitCode = 1;
    return;
  }
  process.stdout.write(`${path} is in order: ${read.steps.length} steps\n`);
}

/** With the place of each in the document. */
function urisOf({ registries, steps }: PlanFields): { at: Path; uri: string }[] {
  const places: { at: Path; source: SecretSource | undefined }[] = [
    ...registries.map(({ password }, nth) => ({ at: ["registryAuth", nth, "password"], source: password })),
    ...steps.flatMap(({ secretVariables, secretFiles, secretInput }, nth) => [
      ...secretVariables.map(({ name, source }) => ({ at: ["steps", nth, "secretEnv", name], source })),
      ...secretFiles.map(({ source }, file) => ({ at: ["steps", nth, "secretFiles", file, "uri"], source })),
      { at: ["steps", nth, "secretStdin"], source: secretInput },
    ]),
  ];
  return places.flatMap(({ at, source }) => (source && "uri" in source ? [{ at, uri: source.uri }] : []));
}

async function printHash(path: string): Promise<void> {
  const { loadPlanFile } = await import("../run/plan-file.ts");
  process.stdout.write(`${(await loadPlanFile(path)).hash}\n`);
}

async function printSchema(): Promise<void> {
  const { planSchema } = await import("../../executor/plan/document.ts");
  process.stdout.write(`${JSON.stringify(planSchema(), undefined, 2)}\n`);
}
