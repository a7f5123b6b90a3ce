/** What a command makes of a run's output, and of its end. */

import type { Sinks } from "../../executor/container/container.ts";
import type { Want } from "../../executor/plan/document.ts";

export interface Output {
  /** For a step that is about to start, counted from 0 on. */
  sinksOf(index: number): Sinks;
  progress(line: string): void;
  /** @param exitCode the run's. @returns the command's. */
  end(exitCode: number): number;
}

const tell = (line: string) => void process.stderr.write(`claimcheck: ${line}\n`);

/** Everything as it comes. */
export const plainOutput: Output = {
  sinksOf: () => process,
  progress: tell,
  end: (exitCode) => exitCode,
};

/** What is wanted of the last step on standard output, alone; whatever else the steps print on standard error. */
export function wantedOutput(want: Want, steps: number): Output {
  const { stdout, stderr } = process;
  const others: Sinks = { stdout: stderr, stderr };
  const last: Record<Want, Sinks> = {
    stdout: { stdout, stderr },
    stderr: { stdout: stderr, stderr: stdout },
    exitCode: others,
    sync: others,
  };
  let reached = -1;
  return {
    sinksOf(index) {
      reached = index;
      return index === steps - 1 ? last[want] : others;
    },
    progress: tell,
    end(exitCode) {
      if (want !== "exitCode" || reached < steps - 1) return exitCode;
      stdout.write(`${exitCode}\n`);
      return 0;
    },
  };
}
