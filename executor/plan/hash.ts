/**
 * The hash of a plan, by which a handle's `plan` claim names the one plan that it may be used in:
 *
 *     "sha256:" base64url( SHA-256( UTF-8( canonical JSON of the plan document ) ) )
 *
 * Canonical is what RFC 8785 calls so: no white space, members in the order of their names' UTF-16 code units, numbers
 * and strings as ECMAScript's JSON.stringify writes them, and no lone surrogate. The document is taken as it was
 * written: a default that is written out makes another hash. Only handles are left out, because they carry the hash
 * themselves: where the document has one, its `name` claim stands in the place of the JWS, as a plan whose handles
 * are given beside it is written in the first place: { "handle": "DEPLOY_TOKEN" }.
 */

import { createHash } from "node:crypto";
import { Failure } from "../../shared/failure.ts";
import { peekPayload } from "../../shared/jws-peek.ts";
import { mapHandles, type PlanDocument } from "./document.ts";

/** @throws {Failure} `invalid_plan` for text that is no Unicode. */
export function hashPlan(document: PlanDocument): string {
  const text = canonical(mapHandles(document, nameOf));
  return `sha256:${createHash("sha256").update(text).digest("base64url")}`;
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).filter(([, each]) => each !== undefined);
    members.sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${members.map(([name, each]) => `${canonical(name)}:${canonical(each)}`).join(",")}}`;
  }
  if (typeof value === "string" && /\p{Surrogate}/u.test(value)) {
    throw new Failure("invalid_plan", { detail: "a text in it is not Unicode" });
  }
  return JSON.stringify(value);
}

/** Who signed it does not matter here: a handle that is used is checked, and so is what it says of the plan. */
function nameOf(handle: string): string {
  try {
    const { name } = peekPayload(handle);
    return typeof name === "string" ? name : handle;
  } catch {
    return handle;
  }
}
