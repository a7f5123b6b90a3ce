/** The plan as a document, which is what every front end makes: what step-table.ts and plan-table.ts say, put together. */
import { isDeepStrictEqual } from "node:util";
import * as z from "zod/mini";
import { described } from "../../shared/described.ts";
import { type ReadField, readOrThrow } from "./faults.ts";
import type { Means, Written } from "./field.ts";
import { type Plan, plainStep, type Step } from "./plan.ts";
import { planFields, planRowOf, planTable } from "./plan-table.ts";
import { rowOf, stepFields, stepTable } from "./step-table.ts";

const word = z.string().check(z.minLength(1));

/** The members of a table's documents, by their names. */
type Members<Table> = {
  [Field in keyof Table as Table[Field] extends { document: { name: infer Name extends string } }
    ? Name
    : never]: Table[Field] extends { document: { schema: () => infer Schema extends z.core.SomeType } }
    ? z.ZodMiniOptional<Schema>
    : never;
};

const membersOf = <Table extends object>(table: Table) =>
  Object.fromEntries(
    Object.values(table).flatMap(({ document }) =>
      document ? [[document.name, z.optional(document.schema())]] : [],
    ),
  ) as Members<Table>;

const { registryAuth, ...planMembers } = membersOf(planTable);

export const wants = ["stdout", "stderr", "exitCode", "sync"] as const;
export type Want = (typeof wants)[number];

export const PlanDocument = described(
  z.strictObject({
    version: described(z.literal(1), "The version of this format."),
    image: described(word, "The image's name, as podman and docker write it."),
    registryAuth,
    steps: described(
      z.array(z.strictObject(membersOf(stepTable))).check(z.minLength(1)),
      "The steps, one container each; each step sees the files of the steps before it.",
    ),
    want: z.optional(
      described(
        z.enum(wants),
        "What the run returns of the last step: its output, its exit code, or nothing. By default all output is passed on.",
      ),
    ),
    ...planMembers,
  }),
  "What Claimcheck runs: steps on one image.",
);

export type PlanDocument = z.infer<typeof PlanDocument>;

type StepDocument = PlanDocument["steps"][number];

/** JSON Schema 2020-12, for editors and front ends: what may be written, defaults left out. */
export function planSchema(): object {
  return z.toJSONSchema(PlanDocument, { io: "input" });
}

/** What a document says of all its steps. @throws {Failure} `usage` for a quantity that is none. */
export function generalOf(
  document: PlanDocument,
  read: ReadField = readOrThrow,
): Omit<Plan, "steps" | "hash" | "masked" | "shortSecrets"> {
  const means: Means = { toSource: (path) => path, read };
  const said = planFields.flatMap((field) => readMember(field, planRowOf(field).document, document, means));
  return { image: document.image, registries: [], ...Object.fromEntries(said) };
}

/**
 * @param fields one of a document's steps.
 * @param toSource makes a path of the host of a volume's `source`.
 * @throws {Failure} `usage` for a quantity that is none.
 */
export function toStep(
  fields: StepDocument,
  toSource: Means["toSource"] = (path) => path,
  read: ReadField = readOrThrow,
): Step {
  const means: Means = { toSource, read };
  const said = stepFields.flatMap((field) => readMember(field, rowOf(field).document, fields, means));
  return { ...plainStep, ...Object.fromEntries(said) };
}

function readMember(
  field: string,
  written: Written<unknown> | undefined,
  document: object,
  means: Means,
): [string, unknown][] {
  if (!written) return [];
  const member: unknown = document[written.name as keyof typeof document];
  if (member === undefined) return [];
  const value = means.read([written.name], () => written.read(member, means), undefined);
  return value === undefined ? [] : [[field, value]];
}

/** The other way, for what a document can leave out. */
export function writePlan(
  said: { readonly [Field in keyof Plan]?: Plan[Field] | undefined },
): Partial<PlanDocument> {
  const members = planFields.flatMap((field) => {
    const [{ document }, value] = [planRowOf(field), said[field]];
    return document && value !== undefined ? [[document.name, document.write(value)]] : [];
  });
  return Object.fromEntries(members);
}

/**
 * The other way: a document's step that `toStep` makes this one of.
 *
 * @returns undefined where no document can say one of its fields.
 */
export function writeStep(step: Step): StepDocument | undefined {
  const said = stepFields.filter((field) => !isDeepStrictEqual(step[field], plainStep[field]));
  const members: [string, unknown][] = [];
  for (const field of said) {
    const { document } = rowOf(field);
    if (!document) return undefined;
    members.push([document.name, document.write(step[field] as never)]);
  }
  return Object.fromEntries(members) as StepDocument;
}

/** The same document with other handles in it. */
export function mapHandles(document: PlanDocument, change: (handle: string) => string): PlanDocument {
  const changed = <Reference extends object | string>(reference: Reference): Reference =>
    typeof reference === "object" && "handle" in reference && typeof reference.handle === "string"
      ? { ...reference, handle: change(reference.handle) }
      : reference;
  return {
    ...document,
    ...(document.registryAuth && {
      registryAuth: document.registryAuth.map(({ password, ...rest }) => ({
        ...rest,
        password: changed(password),
      })),
    }),
    steps: document.steps.map((step) => ({
      ...step,
      ...(step.secretEnv && {
        secretEnv: Object.fromEntries(
          Object.entries(step.secretEnv).map(([variable, reference]) => [variable, changed(reference)]),
        ),
      }),
      ...(step.secretFiles && { secretFiles: step.secretFiles.map(changed) }),
      ...(step.secretStdin !== undefined && { secretStdin: changed(step.secretStdin) }),
    })),
  };
}
