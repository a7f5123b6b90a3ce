import { randomUUID } from "node:crypto";
import type { HandleStore, OpenHandle, Redemption } from "../../broker/store/store.ts";

/** How a suite gets a store, and how it lets time pass there. */
export interface Subject {
  create(): Promise<HandleStore>;
  /** Lets so many seconds pass, as the store sees time. */
  elapse(seconds: number): Promise<void>;
}

/** A real server's clock does not stand still: what is said to be just before an end is so many seconds before it. */
export const margin = 20;

export const now = () => Math.floor(Date.now() / 1000);

/** Ids of its own for each test, so that a suite can run over a store that others use too. */
export function fixtures() {
  const tenant = `acme-${randomUUID()}`;
  const handle = (given: Partial<OpenHandle> = {}): OpenHandle => ({
    tenant,
    jti: randomUUID(),
    subject: "ci",
    uri: "env://API_TOKEN",
    marks: "sealed",
    value: randomUUID(),
    size: 3,
    sealed: Uint8Array.of(0, 1, 0xff),
    uses: 1,
    expires: now() + 900,
    mac: "mac",
    ...given,
  });
  const redemption = (given: Partial<Redemption> = {}): Redemption => ({
    tenant,
    id: randomUUID(),
    principal: "ci",
    jkt: "key",
    run: "",
    ...given,
  });
  return { tenant, handle, redemption };
}
