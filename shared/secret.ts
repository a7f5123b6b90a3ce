/**
 * The type of plaintext. Whatever prints it, prints `[secret]`; the bytes leave through `expose` alone, so
 * that a search for that word finds every place that touches plaintext.
 */
export class Secret {
  #bytes: Uint8Array;
  #wiped = false;

  /** Takes the bytes over: the caller must not keep, change or wipe them. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The bytes themselves, not a copy. They turn to zeros at `wipe()`. */
  expose(): Uint8Array {
    if (this.#wiped) throw new Error("the secret was used after it was wiped");
    return this.#bytes;
  }

  /** Overwrites the bytes. Harmless when repeated. */
  wipe(): void {
    this.#bytes.fill(0);
    this.#bytes = new Uint8Array(0);
    this.#wiped = true;
  }

  toString(): string {
    return "[secret]";
  }

  toJSON(): string {
    return "[secret]";
  }

  [Symbol.toPrimitive](): string {
    return "[secret]";
  }

  // The registered symbol instead of `inspect.custom`, so that no front end has to load node:util for it.
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "[secret]";
  }
}
