/** Policies over the URIs of all schemes. */
import type { KeyLocation, KeySet } from "../../broker/authn/issuer-keys.ts";
import { createPolicy as create, type Policy, type Rule } from "../../broker/policy/decide.ts";
import { loadPolicy as load, readPolicy as read } from "../../broker/policy/file.ts";
import { createSecretPatterns } from "../../broker/policy/secret-pattern.ts";
import { patternDemands } from "../../broker/providers/schemes.ts";

export const patterns = createSecretPatterns(patternDemands);

export const createPolicy = (rules: readonly Rule[]): Policy => create(rules, patterns);

export const readPolicy = (text: string) => read(text, patterns);

export const loadPolicy = (text: string, keysOf: (location: KeyLocation) => KeySet) =>
  load(text, keysOf, patterns);
