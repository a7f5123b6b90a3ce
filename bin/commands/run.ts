/** claimcheck run: one container, with secrets, output scrubbed. */
import { isDeepStrictEqual } from "node:util";
import { Command } from "commander";
import { plainStep, type Step } from "../../executor/plan/plan.ts";
import type { SupervisorProcess } from "../../executor/supervisor/launch.ts";
import { Failure } from "../../shared/failure.ts";
import { addStepFlags } from "../run/flags.ts";
import { addHandleAndValueFlags, asVariables, type HandlesAndValues } from "../run/handles-and-values.ts";
import { type RunOptions, withRunOptions } from "../run/options.ts";
import { type Output, wantedOutput } from "../run/output.ts";
import { run, type ToRun } from "../run/run.ts";

interface RunCommandOptions extends RunOptions {
  plan?: string;
  stdio?: boolean;
}

export function runCommand(launched: SupervisorProcess | undefined): Command {
  const command = new Command("run");
  const toStep = addStepFlags(command, process.env);
  const given = addHandleAndValueFlags(command, process.env);
  return withRunOptions(command)
    .description("Run a command in a container, with secrets, and mask them in what it prints.")
    .usage("[options] IMAGE [--] [COMMAND [ARGUMENT...]]\n       claimcheck run [options] --plan FILE")
    .argument("[image]", "the image, as podman and docker name it; pulled when it is missing")
    .argument("[command...]", "the command to run the command to run instead of the image's own")
    .passThroughOptions()
    .option("--plan <FILE>", "run the steps in this file (YAML or JSON), one after the other on one image")
    .option("--stdio", "for programs: read the plan from standard input, and print events")
    .addHelpText("after", help)
    .action(
      async (
        image: string | undefined,
        args: string[],
        options: RunCommandOptions & Parameters<typeof toStep>[1],
      ) => {
        const step = toStep(args[0] === "--" ? args.slice(1) : args, options);
        if (options.stdio) return runRequest(options, launched);
        const { output, ...runnable } = await whatToRun(image, step, options.plan, given);
        await run(runnable, given, options, { output, launched });
      },
    );
}

async function runRequest(options: RunOptions, launched: SupervisorProcess | undefined): Promise<void> {
  const { eventOutput, readRequest } = await import("../run/stdio.ts");
  const output = eventOutput();
  try {
    const { cancelled, values, ...runnable } = await readRequest();
    await run(runnable, { handles: new Map(), values }, options, { output, cancelled, launched });
    // Standard input is still open.
    process.stdin.destroy();
  } catch (thrown) {
    process.stdin.destroy();
    if (!(thrown instanceof Failure)) throw thrown;
    output.fail(thrown);
    process.exitCode = thrown.exitCode;
  }
}

/** A step on the command line, or the steps of a file. */
async function whatToRun(
  image: string | undefined,
  step: Step,
  plan: string | undefined,
  given: HandlesAndValues,
): Promise<ToRun & { readonly output?: Output }> {
  if (plan === undefined) {
    if (image === undefined) throw new Failure("usage", { detail: "IMAGE or --plan FILE" });
    const secretVariables = [...step.secretVariables, ...asVariables(given)];
    return { image, registries: [], steps: [{ ...step, secretVariables }] };
  }
  if (image !== undefined || !isDeepStrictEqual(step, plainStep)) {
    throw new Failure("usage", {
      detail: "--plan FILE already says what to run; leave out the image and its flags",
    });
  }
  const { loadPlanFile } = await import("../run/plan-file.ts");
  const loaded = await loadPlanFile(plan, given.handles);
  const { want, steps } = loaded.document;
  return { ...loaded, ...(want && { output: wantedOutput(want, steps.length) }) };
}

const help = `
Example:
  API_TOKEN=guessme claimcheck run --secret-env MY_SECRET=env://API_TOKEN \\
    alpine:latest -- sh -c 'echo this is the secret: $MY_SECRET'

Exit codes: the command's own; 124 the time limit is reached, 125 claimcheck failed, 126 the command cannot be
executed, 127 it does not exist, 128 + n a signal ended it.`;
