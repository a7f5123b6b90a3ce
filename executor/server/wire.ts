/**
 * The bodies of the executor's HTTP interface; openapi.yaml says the same, and a test holds the two together. A run is
 * answered with a line of JSON for each event (application/x-ndjson). The last one is `end` or `error`: an answer that
 * ends otherwise was cut off.
 */
import * as z from "zod/mini";
import { record } from "../../shared/record.ts";

const name = z.string().check(z.minLength(1), z.maxLength(256));
const step = z.int().check(z.nonnegative());
const exitCode = z.int().check(z.minimum(0), z.maximum(255));

export const RunRequest = z.strictObject({
  /** executor/plan/document.ts has its schema, which `claimcheck plan schema` prints. */
  plan: z.looseObject({}),
  /** The job's own, in whose name handles for the plan's URIs and values are asked for. */
  token: z.optional(z.string().check(z.regex(/^[\x21-\x7e]+$/), z.maxLength(16_384))),
  /** What the plan's `value`s stand for, in base64. */
  values: z.optional(record(name, z.base64())),
  /** Whether results of former runs may be taken, and this one's kept; true without it. */
  cache: z.optional(z.boolean()),
});

export const RunEvent = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("progress"), text: z.string() }),
  z.strictObject({ type: z.literal("step"), step, name: z.optional(z.string()) }),
  z.strictObject({ type: z.literal("stdout"), step, data: z.base64() }),
  z.strictObject({ type: z.literal("stderr"), step, data: z.base64() }),
  z.strictObject({ type: z.literal("exit"), step, code: exitCode }),
  z.strictObject({ type: z.literal("end"), code: exitCode }),
  z.strictObject({
    type: z.literal("error"),
    code: z.string(),
    title: z.string(),
    detail: z.optional(z.string()),
    exitCode,
  }),
]);

export type RunRequest = z.infer<typeof RunRequest>;
export type RunEvent = z.infer<typeof RunEvent>;
