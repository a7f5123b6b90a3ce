/** What a client sent, held against a schema. */
import type { Context } from "hono";
import type * as z from "zod/mini";
import { ClaimcheckError } from "../../shared/errors.ts";

export function parse<Schema extends z.ZodMiniType>(body: string, schema: Schema): z.infer<Schema> {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    throw new ClaimcheckError("invalid_request", { detail: "the body is not JSON" });
  }
  return validate(json, schema);
}

/** Those of the query; one that appears twice is a list, and no parameter is. */
export function parametersOf({ req }: Context): unknown {
  const given = Object.entries(req.queries());
  return Object.fromEntries(given.map(([name, values]) => [name, values.length === 1 ? values[0] : values]));
}

export function validate<Schema extends z.ZodMiniType>(
  json: unknown,
  schema: Schema,
  whole = "the body",
): z.infer<Schema> {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  // The path names fields of ours and positions; what the client wrote there is not repeated.
  const where = parsed.error.issues.map(({ path }) => path.join(".") || whole).slice(0, 5);
  throw new ClaimcheckError("invalid_request", { detail: `wrong or missing: ${where.join(", ")}` });
}
