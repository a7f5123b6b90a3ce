import type * as z from "zod/mini";

type Issue = z.core.$ZodIssue;

/** How often parts are taken away: what a fault leaves may be a fault of what is around it. */
const rounds = 4;

/**
 * The part of a document that its schema accepts: without the fields that the issues are about. It is `undefined` where
 * a field is missing that the whole document needs.
 *
 * @param content is changed.
 */
export function soundPart<Schema extends z.ZodMiniType>(
  content: unknown,
  issues: readonly Issue[],
  schema: Schema,
): z.infer<Schema> | undefined {
  let open = issues;
  for (let round = 0; round < rounds; round++) {
    for (const issue of open) {
      if (issue.code === "unrecognized_keys")
        for (const key of issue.keys) takeAway(content, [...issue.path, key]);
      else takeAway(content, issue.path);
    }
    const parsed = schema.safeParse(content);
    if (parsed.success) return parsed.data;
    open = parsed.error.issues;
  }
  return undefined;
}

/** The field of an object; the nearest one around it where the path leads into a list, whose other items keep their places. */
function takeAway(content: unknown, path: readonly PropertyKey[]): void {
  const last = path.at(-1);
  if (last === undefined) return;
  const around = path.slice(0, -1);
  let parent = content;
  for (const part of around) parent = (parent as Record<PropertyKey, unknown> | undefined)?.[part];
  const isField = typeof parent === "object" && parent !== null && !Array.isArray(parent);
  if (isField && Object.hasOwn(parent as object, last)) delete (parent as Record<PropertyKey, unknown>)[last];
  else takeAway(content, around);
}
