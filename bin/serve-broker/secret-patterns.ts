/** Patterns over the URIs of the schemes that there are. */
import { createSecretPatterns } from "../../broker/policy/secret-pattern.ts";
import { patternDemands } from "../../broker/providers/schemes.ts";

export const secretPatterns = createSecretPatterns(patternDemands);
