import * as z from "zod/mini";

/** zod leaves a member out that is called "__proto__", without a word. Here it is refused: what it says would be lost. */
export const record = <Key extends z.ZodMiniString, Value extends z.ZodMiniType>(key: Key, value: Value) =>
  z.pipe(z.transform(refusePrototype), z.record(key, value));

function refusePrototype(input: unknown, { issues }: z.core.ParsePayload): unknown {
  if (typeof input === "object" && input !== null && Object.hasOwn(input, "__proto__")) {
    issues.push({ code: "custom", message: "nothing can have this name", path: ["__proto__"], input });
  }
  return input;
}
