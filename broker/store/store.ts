/** A handle while it is open. */
export interface OpenHandle {
  readonly tenant: string;
  readonly jti: string;
  /** The principal that asked for it. */
  readonly subject: string;
  readonly run?: string;
  /** Canonical, for the policy of the day of redemption. */
  readonly uri: string;
  readonly digest: string;
  /** The plaintext under a key that the store never sees. */
  readonly sealed: Uint8Array;
  readonly uses: number;
  /** Seconds since 1970. */
  readonly expires: number;
}

/** Who redeems, under which id. The same three again within `repeatWindow` are the same redemption. */
export interface Redemption {
  readonly tenant: string;
  readonly id: string;
  readonly principal: string;
  /** Thumbprint of the proof's key. */
  readonly jkt: string;
}

/** For how long a redemption whose answer was lost can be asked for again, in seconds. */
export const repeatWindow = 60;

export type Taken =
  | { readonly outcome: "taken" | "repeat"; readonly handles: readonly OpenHandle[] }
  /** The id was used by somebody else or for other handles. */
  | { readonly outcome: "conflict" }
  /** Nothing was taken, because of the handles at these positions. */
  | { readonly outcome: "refused"; readonly unknown: readonly number[]; readonly spent: readonly number[] };

/**
 * Where handles wait for their redemption. What every implementation promises:
 *
 *   - `take` is one atomic step: however many take at once, on however many brokers, a handle is taken at most
 *     `uses` times. Either all handles of a batch lose a use or none does; one that is listed twice loses two.
 *   - Looking never takes. A repeated redemption takes nothing.
 *   - A handle is gone when it expires, and no handle outlives the memory of how often it was taken.
 */
export interface HandleStore {
  put(handles: readonly OpenHandle[]): Promise<void>;

  /** The open handles among these, in their order; `undefined` where there is none. Takes nothing. */
  look(tenant: string, jtis: readonly string[]): Promise<readonly (OpenHandle | undefined)[]>;

  take(redemption: Redemption, jtis: readonly string[]): Promise<Taken>;

  /** Undoes a `take` whose release could not be recorded. */
  giveBack(redemption: Redemption): Promise<void>;

  /**
   * Remembers a proof's `jti` until `expires` (seconds since 1970).
   *
   * @returns false when it was there already.
   */
  rememberProof(jti: string, expires: number): Promise<boolean>;
}
