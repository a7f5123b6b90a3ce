/** Fields that sources of several kinds have. */
import * as z from "zod/mini";
import { described } from "../../shared/described.ts";

export const text = z.string().check(z.minLength(1));

/** Never the secret itself: a file of settings is read by more people than its secrets are for. */
export const credential = z.string().check(
  z.regex(/^[a-z][a-z0-9]*(?:[+-][a-z0-9]+)*:\/\/\S/, {
    error:
      "the URI of a secret, never the secret itself: env://NAME for a variable of the broker, file://PATH for a file, or vault://PATH#FIELD?source=NAME for a secret of another source",
  }),
);

export const kindOfSource = "The provider, which is the scheme of its URIs.";

export const tenants = described(
  z.array(z.string().check(z.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/))).check(z.minLength(1)),
  "The tenants that read from it. Each has its own log-in and connections there.",
);

export const ca = described(
  z.optional(text),
  "A file of certificates (PEM) to trust instead of the system's.",
);

/** Reads a credential of a source by its URI. */
export type Credential = (uri: string) => () => Promise<string>;
