/** Secrets as a chain names them. What one is worth is known to the broker, and in the end to the container. */
import type { SecretReference } from "./plan.ts";

/** What `setSecret` was given, on its way to the executor. */
const values = new WeakMap<Secret, Uint8Array>();

const explanation =
  "a secret has no plaintext in a front end: the executor gets the value when the container starts, and only the container sees it";

/** The name of a secret. There is no way from it to the value. */
export class Secret {
  /** Its URI, or the name it was set with. */
  readonly name: string;
  /** How a plan calls it. */
  readonly reference: SecretReference;

  constructor(name: string, reference: SecretReference) {
    this.name = name;
    this.reference = reference;
  }

  /** @throws always, and says why. */
  plaintext(): never {
    throw new Error(explanation);
  }

  toString(): string {
    return this.name;
  }

  toJSON(): string {
    return this.name;
  }
}

/**
 * A secret by its URI: `env://NAME`, `file://PATH`, `cmd://COMMAND`, `op://VAULT/ITEM/FIELD`, `vault://PATH#FIELD`, `aws+sm://NAME[?field=FIELD]`, `aws+ps://NAME`, `libsecret://COLLECTION/ITEM`.
 *
 * @param options `cacheKey` is a name that stands for the value in caches.
 */
export function secret(uri: string, { cacheKey }: { cacheKey?: string } = {}): Secret {
  return new Secret(uri, cacheKey === undefined ? uri : { uri, cacheKey });
}

/**
 * A secret that this program has the value of. It goes to the executor beside the plan, never in it.
 *
 * @throws for a text that is not Unicode, because no bytes stand for it.
 */
export function setSecret(name: string, value: string | Uint8Array): Secret {
  if (typeof value === "string" && /\p{Surrogate}/u.test(value)) {
    throw new Error(`the value of ${name} is not Unicode; give its bytes`);
  }
  const made = new Secret(name, { value: name });
  values.set(made, typeof value === "string" ? Buffer.from(value) : value);
  return made;
}

/** What goes beside a plan for this secret, if something does. */
export const valueBeside = (secret: Secret): Uint8Array | undefined => values.get(secret);
