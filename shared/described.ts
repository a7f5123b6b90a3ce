import * as z from "zod/mini";

/** A schema that says what it is for, also in the JSON Schema that is made of it. */
export const described = <Schema extends z.ZodMiniType>(schema: Schema, description: string): Schema =>
  schema.check(z.describe(description)) as Schema;
