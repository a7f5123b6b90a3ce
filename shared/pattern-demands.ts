import type { Glob } from "./glob.ts";

/** What a scheme's URIs ask of the patterns in a policy's rules, where their text is not what the secret is. */
export interface PatternDemands {
  readonly scheme: string;

  /** Whether its URIs know no parameters: then what looks like one in a pattern is text. */
  readonly verbatim?: boolean;

  /** Whether URIs that differ from their first segment on can be the same secret. */
  readonly aliased?: boolean;

  /** What is wrong with a pattern that matches some of its URIs, in a rule of this effect. */
  faultOf?(pattern: Glob, effect: "allow" | "deny"): string | undefined;

  /** Which of its URIs a rule that denies is about, where that is more than the text of the pattern says. */
  denial?(pattern: Glob): (uri: string) => boolean;
}
