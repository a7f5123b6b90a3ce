/** What to run. */
import type { ShortSecrets } from "./output.ts";

export interface SecretVariable {
  /** Of the environment variable. */
  readonly name: string;
  readonly uri: string;
  readonly cacheKey?: string;
}

export interface Step {
  /** The command; the image's own where it is empty. */
  readonly args: readonly string[];
  readonly secretVariables: readonly SecretVariable[];
}

export interface Plan {
  readonly image: string;
  readonly step: Step;
  /** Whether known values are masked in what the command prints. */
  readonly masked: boolean;
  /** What to do about a value of 1 to 3 bytes, which cannot be masked without wrecking the output. */
  readonly shortSecrets: ShortSecrets;
}
