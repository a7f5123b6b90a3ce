/**
 * Published vectors: what another implementation has to agree with. `key: value` lines, an empty line, then raw
 * input to the end of the file; a key that is not known fails. Their numbers were reckoned apart from this code.
 */
import { readdirSync, readFileSync } from "node:fs";
import type * as z from "zod/mini";

export function readVectors<Schema extends z.ZodMiniObject>(feature: string, schema: Schema) {
  const folder = new URL(`../vectors/${feature}/`, import.meta.url);
  return readdirSync(folder).map((name) => {
    const file = readFileSync(new URL(name, folder));
    const end = file.indexOf("\n\n");
    const lines = file.subarray(0, end).toString().split("\n");
    const fields = lines.map((line) => [
      line.slice(0, line.indexOf(": ")),
      line.slice(line.indexOf(": ") + 2),
    ]);
    return [name, schema.parse(Object.fromEntries(fields)), file.subarray(end + 2)] as const;
  });
}
