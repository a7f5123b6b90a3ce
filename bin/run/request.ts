/** What a front end asks to be run: a plan, and the values that it names beside it. */
import * as z from "zod/mini";
import en from "zod/v4/locales/en.js";
import { generalOf, PlanDocument, toStep } from "../../executor/plan/document.ts";
import { hashPlan } from "../../executor/plan/hash.ts";
import type { PlanFields } from "../../executor/plan/plan.ts";
import { Failure } from "../../shared/failure.ts";
import { newerDocument } from "../../shared/newer.ts";
import { record } from "../../shared/record.ts";
import { Secret } from "../../shared/secret.ts";

const RunRequestFields = z.strictObject({
  plan: PlanDocument,
  values: z.optional(record(z.string(), z.base64())),
});

export interface RunRequest extends PlanFields {
  readonly document: PlanDocument;
  readonly values: ReadonlyMap<string, Secret>;
}

const { localeError } = en();

/** @throws {Failure} `usage` for what is none. */
export function toRunRequest(content: unknown): RunRequest {
  const parsed = RunRequestFields.safeParse(content, { error: localeError });
  if (!parsed.success) {
    const newer = newerDocument(Object(content).plan);
    if (newer !== undefined) throw new Failure("usage", { detail: `plan: ${newer}` });
    const [issue] = parsed.error.issues;
    throw new Failure("usage", { detail: `${issue?.path.join(".")}: ${issue?.message}` });
  }
  const { plan, values = {} } = parsed.data;
  return {
    ...generalOf(plan),
    steps: plan.steps.map((fields) => toStep(fields)),
    hash: hashPlan(plan),
    document: plan,
    values: new Map(
      Object.entries(values).map(([name, value]) => [name, new Secret(Buffer.from(value, "base64"))]),
    ),
  };
}
