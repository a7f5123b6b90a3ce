/** Gives what a pipeline of verbs asks for. */
import type { Command } from "commander";
import { type RunOptions, withRunOptions } from "../run/options.ts";
import { wantedOutput } from "../run/output.ts";
import { toRunRequest } from "../run/request.ts";
import { run } from "../run/run.ts";
import { answerTo, attempt, type Call } from "./chain.ts";

export interface ChainOptions extends RunOptions {
  readonly printPlan?: boolean;
}

/** Gives a command the options of all that run chains. */
export const withChainOptions = (command: Command): Command =>
  withRunOptions(command).option("--print-plan", "print the plan, as `run --plan` takes it, and run nothing");

/** Prints it; the exit code of this process is the run's. */
export async function runChain(calls: readonly Call[], options: ChainOptions): Promise<void> {
  const answer = answerTo(calls);
  if ("text" in answer) {
    process.stdout.write(`${answer.text}\n`);
    return;
  }
  const { container, want, publish } = answer;
  const [{ word }] = calls.slice(-1) as [Call];
  const request = attempt(word, () => container.request(want, publish === undefined ? {} : { publish }));
  const { values, ...runnable } = toRunRequest(request);
  if (options.printPlan) {
    process.stdout.write(`${JSON.stringify(request.plan)}\n`);
    return;
  }
  const output = wantedOutput(want, runnable.steps.length);
  await run(runnable, { handles: new Map(), values }, options, { output });
}
