/** What others have to know of the schemes. To add one is to add its file, and a row here. */
import type { PatternDemands } from "../../shared/pattern-demands.ts";
import { commandPatterns } from "./cmd.ts";
import { onePasswordPatterns } from "./op.ts";
import { vaultPatterns } from "./vault.ts";

/** Of the others the text of a URI is what counts. */
export const patternDemands: readonly PatternDemands[] = [
  commandPatterns,
  onePasswordPatterns,
  vaultPatterns,
];
