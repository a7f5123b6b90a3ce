/**
 * env://NAME, a variable of the broker's environment.
 *
 *     name = ( ALPHA / "_" ) *( ALPHA / DIGIT / "_" )     ; POSIX, XBD 8.1
 *
 * A variable that is set but empty is an empty secret; only one that is not set is missing. The secret is the
 * variable's bytes, also where they are no text.
 */
import { ClaimcheckError } from "../../shared/errors.ts";
import { Secret } from "../../shared/secret.ts";
import { head, shownName } from "../../shared/uri.ts";
import type { Environment } from "./environment.ts";
import type { Provider, Scheme, SecretReference } from "./provider.ts";

export const envScheme: Scheme = { name: "env", form: "env://NAME" };

const namePattern = /^[A-Za-z_][A-Za-z0-9_]*$/;

interface EnvReference extends SecretReference {
  readonly name: string;
}

/** The URI of a variable. */
export const envUri = (name: string) => `env://${name}`;

/** @param environment where the variables are looked up. */
export function envProvider(environment: Environment): Provider<EnvReference> {
  return {
    scheme: "env",
    parameters: [],

    parse(name) {
      if (!namePattern.test(name)) {
        throw new ClaimcheckError("invalid_uri", {
          detail: `env://${head(name)}: a variable's name is letters, digits and "_"`,
        });
      }
      return { scheme: "env", canonical: envUri(name), shown: envUri(shownName(name)), name };
    },

    async read(references) {
      return references.map(({ name, shown }) => {
        // `env://toString` is not set because every object has one.
        const value = Object.hasOwn(environment, name) ? environment[name] : undefined;
        if (value === undefined) {
          return new ClaimcheckError("secret_not_found", { detail: `${shown} is not set` });
        }
        return value === null
          ? new ClaimcheckError("provider_failed", {
              detail: `${shown} is not UTF-8, and this system does not show its bytes; use a file and file://`,
            })
          : new Secret(Buffer.from(value));
      });
    },
  };
}
