import type { Complaint } from "../health.ts";

/** A handle while it is open. */
export interface OpenHandle {
  readonly tenant: string;
  readonly jti: string;
  /** The principal that asked for it. */
  readonly subject: string;
  readonly run?: string;
  /** Canonical, for the policy of the day of redemption. */
  readonly uri: string;
  /** What the log calls the value, sealed: who reads the store cannot compare two values (keys/marks.ts). */
  readonly marks: string;
  /** Names the sealed value: handles of one request that are for the same value share it. */
  readonly value: string;
  /** Of the value, in bytes. */
  readonly size: number;
  /** The plaintext under a key that the store never sees. */
  readonly sealed: Uint8Array;
  readonly uses: number;
  /** Seconds since 1970. */
  readonly expires: number;
  /** The broker's, over all of this but `sealed`: a store can lose a handle, but not change one or make one up. */
  readonly mac: string;
}

/** What of an open handle lies in the store as it is. */
export type StoredFields = Omit<OpenHandle, "sealed" | "mac">;

/** What is known of an open handle besides its value. */
export interface HandleState extends Omit<OpenHandle, "sealed"> {
  /** Uses that are left. */
  readonly left: number;
  /** Whether the one who looks took one of its uses. */
  readonly taken: boolean;
}

/** Who takes: what the uses of a handle are counted for. */
export interface Taker {
  readonly principal: string;
  /** Thumbprint of the proof's key. */
  readonly jkt: string;
  /** What the executor calls the run that the values are for. */
  readonly run: string;
}

/** Who redeems, under which id. The same again within `repeatWindow` is the same redemption. */
export interface Redemption extends Taker {
  readonly tenant: string;
  readonly id: string;
}

/** Which handles of a tenant are to be void: one, those that a principal asked for, those of a run, or all. */
export type Revocation =
  | { readonly jti: string }
  | { readonly subject: string }
  | { readonly run: string }
  | { readonly all: true };

/** For how long a redemption whose answer was lost can be asked for again, in seconds. */
export const repeatWindow = 60;

export type Taken =
  /** `attempt` names this taking among all that there are, for `giveBack`. */
  | { readonly outcome: "taken"; readonly handles: readonly OpenHandle[]; readonly attempt: string }
  | { readonly outcome: "repeat"; readonly handles: readonly OpenHandle[] }
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
 *   - A revocation is in force for every broker once `revoke` has resolved: also for repeats, but not for handles
 *     that are put later. The one exception: where a server was replaced by another one, a broker that is still
 *     connected to the old one leaves it within seconds (`watchTime` in connection.ts).
 *   - A store that forgot revocations has forgotten the handles that they could be about.
 *   - An operation that may have reached the store and is sent again, or arrives late, puts, takes, gives back, revokes
 *     and refuses nothing twice.
 *
 * What cannot be had from the store in time is the coded error `store_unavailable`. Whether it happened is not
 * known then, and asking again is safe.
 */
export interface HandleStore {
  /** Adds handles. One that is there already stays as it is: its uses do not come back. */
  put(handles: readonly OpenHandle[]): Promise<void>;

  /** The open handles among these, in their order; `undefined` where there is none. Takes nothing. */
  look(tenant: string, jtis: readonly string[], taker?: Taker): Promise<readonly (HandleState | undefined)[]>;

  take(redemption: Redemption, jtis: readonly string[]): Promise<Taken>;

  /**
   * Undoes the one `take` that answered with this attempt and whose release could not be recorded, unless it was
   * repeated meanwhile.
   *
   * @param jtis what was taken.
   */
  giveBack(redemption: Redemption, attempt: string, jtis: readonly string[]): Promise<void>;

  revoke(tenant: string, revocation: Revocation): Promise<void>;

  /**
   * Remembers a proof's `jti` until `expires` (seconds since 1970).
   *
   * @returns false when it was there already.
   */
  rememberProof(jti: string, expires: number): Promise<boolean>;

  /** How many handles it holds, where that is known without asking a server. */
  readonly size?: () => number;

  /** Why operations fail at this time, for /readyz. */
  complaints(): readonly Complaint[];

  close(): Promise<void>;
}
