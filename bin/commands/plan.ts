/** claimcheck plan: what a plan file says, without running it. */
import { Command } from "commander";
import { printFaults } from "../host/print-faults.ts";

export function planCommand(): Command {
  return new Command("plan")
    .description("Check or print a plan file without running it.")
    .addCommand(
      new Command("check")
        .description("Print every fault in it; exit code 1 if there is one.")
        .argument("<file>")
        .action(check),
    )
    .addCommand(
      new Command("hash")
        .description("Print its hash: what a handle's `plan` says where it is for this plan alone.")
        .argument("<file>")
        .action(printHash),
    )
    .addCommand(
      new Command("schema").description("Print the file's JSON Schema, for editors.").action(printSchema),
    );
}

async function check(path: string): Promise<void> {
  const [{ readPlanFile }, { checkPlan }] = await Promise.all([
    import("../run/plan-file.ts"),
    import("../../executor/plan/check.ts"),
  ]);
  const read = await readPlanFile(path);
  if ("faults" in read) {
    printFaults(path, read.faults);
    process.exitCode = 1;
    return;
  }
  checkPlan(read);
  process.stdout.write(`${path} is in order: ${read.steps.length} steps\n`);
}

async function printHash(path: string): Promise<void> {
  const { loadPlanFile } = await import("../run/plan-file.ts");
  process.stdout.write(`${(await loadPlanFile(path)).hash}\n`);
}

async function printSchema(): Promise<void> {
  const { planSchema } = await import("../../executor/plan/document.ts");
  process.stdout.write(`${JSON.stringify(planSchema(), undefined, 2)}\n`);
}
