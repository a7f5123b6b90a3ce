/** What `claimcheck doctor` finds: one line for each thing that a run needs, and for what is missing what to do. */
import { Failure } from "../../shared/failure.ts";

export interface Finding {
  /** What was looked at: a program, a file, the broker. */
  readonly name: string;
  readonly ok: boolean;
  /** What it is, or what is wrong with it. */
  readonly says: string;
  /** What to do, where it is not as it should be. */
  readonly remedy?: string;
}

/** A look at one thing. What it throws becomes a finding: a check never ends the others. */
export interface Check {
  readonly name: string;
  /** What to do where it throws. */
  readonly remedy: string;
  /** Another check's name: where that one fails, nothing can be said of this one. */
  readonly after?: string;
  /** @returns what to say of a thing that is in order. */
  readonly look: () => Promise<string> | string;
}

/** Looks one by one, so that the order of the lines is that of the checks. */
export async function examine(checks: readonly Check[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { name, remedy, after, look } of checks) {
    if (findings.some((before) => before.name === after && !before.ok)) {
      findings.push({ name, ok: false, says: `not checked, because the check of "${after}" failed` });
      continue;
    }
    try {
      findings.push({ name, ok: true, says: await look() });
    } catch (thrown) {
      findings.push({ name, ok: false, says: reasonOf(thrown), remedy });
    }
  }
  return findings;
}

const reasonOf = (thrown: unknown): string =>
  thrown instanceof Failure ? `${thrown}` : (thrown as Error).message;
