/** docs/reference/files.md, from the schemas by which the code reads each file. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as z from "zod/mini";
import { brokerSchema } from "../../bin/serve-broker/schema.ts";
import { executorSchema } from "../../bin/serve-executor/config.ts";
import { AuditLine } from "../../broker/audit/record.ts";
import { policySchema } from "../../broker/policy/schema.ts";
import { planSchema } from "../../executor/plan/document.ts";
import { RunEvent, RunRequest } from "../../executor/server/wire.ts";
import { cell, code, page, table } from "./markdown.ts";

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

export const files = (): string =>
  page(
    "# Files",
    "In a name, `*` stands for a name of your choice, and `[]` for each item of a list. A field that is not listed is an error. A star marks fields that are required.",
    "## Plan",
    "`claimcheck run --plan FILE`, in YAML or JSON. [Plans](../plans.md) shows one.",
    fields(planSchema()),
    "## Policy",
    "`policy:` of `broker.yaml`. [Policy cookbook](../policy.md) shows one.",
    fields(policySchema()),
    "## Broker",
    "`claimcheck broker --config FILE`. [Run a broker](../broker.md) shows one.",
    fields(brokerSchema()),
    "## Executor",
    "`claimcheck executor --config FILE`. [Run the jobs of a host](../executor.md) shows one.",
    fields(executorSchema()),
    "## Audit log",
    "[Audit](../audit.md) shows how to read it.",
    `\`\`\`text\n${headerOf("broker/audit/record.ts")}\n\`\`\``,
    variants(AuditLine),
    "## Standard input and output of `run --stdio`",
    'One line of standard input is the request: `{ "plan": …, "values": { NAME: base64 } }`. Standard output has an event a line. `POST /v1/runs` of an executor takes and gives the same; its request:',
    fields(z.toJSONSchema(RunRequest, { io: "input" })),
    "The events. `data` is in base64; the last one is `end` or `error`:",
    variants(RunEvent),
  );

const fields = (schema: object): string =>
  table(["field", "is", "default", "means"], rowsOf("", schema as Schema));

function rowsOf(path: string, schema: Schema): string[][] {
  const { properties = {}, required = [], items, additionalProperties: others } = schema;
  const own = Object.entries(properties).flatMap(([name, inner]) => {
    const here = path === "" ? name : `${path}.${name}`;
    return [rowOf(here, inner, required.includes(name)), ...rowsOf(here, inner)];
  });
  const named = typeof others === "object" ? rowsOf(`${path}.*`, others) : [];
  // Of several forms none has to be there.
  const either = (schema.anyOf ?? schema.oneOf ?? []).flatMap((each) =>
    rowsOf(path, { ...each, required: [] }),
  );
  return unique([...own, ...(items ? rowsOf(`${path}[]`, items) : []), ...named, ...either]);
}

/** Two forms of one field can have fields in common; a field that tells them apart has one text in each. */
function unique(rows: string[][]): string[][] {
  const byField = new Map<string, string[]>();
  for (const row of rows) {
    const [field = "", kind = "", ...others] = row;
    const before = byField.get(field)?.[1]?.split(", ") ?? [];
    const kinds = kind.startsWith("`") ? [...new Set([...before, kind])].join(", ") : kind;
    byField.set(field, [field, kinds, ...others]);
  }
  return [...byField.values()];
}

function rowOf(path: string, schema: Schema, isRequired: boolean): string[] {
  const value =
    schema.default === undefined || typeof schema.default === "object" ? "" : String(schema.default);
  return [
    `${code(path)}${isRequired ? " \\*" : ""}`,
    kindOf(schema),
    code(value),
    cell(schema.description ?? ""),
  ];
}

function kindOf({
  type,
  enum: choices,
  const: only,
  items,
  anyOf,
  oneOf,
  additionalProperties,
}: Schema): string {
  if (choices) return choices.map(code).join(", ");
  if (only !== undefined) return code(JSON.stringify(only));
  if (type === "array") return `list of ${items ? kindOf(items) : "anything"}`;
  if (anyOf ?? oneOf) return [...new Set((anyOf ?? oneOf ?? []).map(kindOf))].join(", or ");
  if (type === "object") return typeof additionalProperties === "object" ? "map" : "object";
  return { string: "text", integer: "number", boolean: "true or false" }[type ?? ""] ?? type ?? "any";
}

/** The comment at the top of a file, which draws a format in full. */
function headerOf(path: string): string {
  const text = readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), "utf8");
  const [, header = ""] = /^\/\*\*\n(.*?)\n \*\//s.exec(text) ?? [];
  return header.replace(/^ \* ?/gm, "");
}

/** One row for each of the things that a line can be. */
function variants(schema: z.ZodMiniType): string {
  const { anyOf, oneOf = anyOf ?? [] } = z.toJSONSchema(schema, { io: "input" }) as Schema;
  const rows = oneOf.map(({ properties = {}, required = [] }) => [
    code(String(properties.type?.const)),
    Object.entries(properties)
      .filter(([name]) => name !== "type")
      .map(([name, inner]) => `${code(name)}${required.includes(name) ? " \\*" : ""} (${kindOf(inner)})`)
      .join(", "),
  ]);
  return table(["`type`", "fields"], rows);
}
