/** The table of a step's fields against what it describes: documents, flags, permissions, and the front ends. */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { addStepFlags } from "../../../../bin/run/flags.ts";
import { checkRootless } from "../../../../executor/host/rootless.ts";
import { generalOf, PlanDocument, toStep, writePlan, writeStep } from "../../../../executor/plan/document.ts";
import type { FieldsWith } from "../../../../executor/plan/field.ts";
import { type Plan, plainStep, type Step } from "../../../../executor/plan/plan.ts";
import { planFields, planRowOf, type planTable } from "../../../../executor/plan/plan-table.ts";
import { rowOf, stepFields } from "../../../../executor/plan/step-table.ts";
import { permit } from "../../../../executor/server/permissions.ts";
import { otherValues, spoken } from "../../../support/step-examples.ts";

const planOf = (step: Partial<Step>): Plan => ({
  image: "alpine",
  registries: [],
  steps: [{ ...plainStep, ...step }],
  masked: true,
  shortSecrets: "refuse",
});

const examples = stepFields.flatMap((field) =>
  otherValues[field].map((value): [keyof Step, unknown] => [field, value]),
);

describe("a document", () => {
  test.each(examples.filter(([field]) => rowOf(field).document))(
    "says %s as it is read: %j",
    (field, value) => {
      const step = { ...plainStep, ...(value !== undefined && { [field]: value }) };
      const document = { version: 1, image: "alpine", steps: [writeStep(step)] };
      // What a schema refuses is no document: an empty text, for which there is no need to write anything.
      const parsed = PlanDocument.safeParse(document);
      expect(parsed.success).toBe(value !== "");
      if (parsed.success) expect(toStep(parsed.data.steps[0] as PlanDocument["steps"][number])).toEqual(step);
    },
  );

  test.each(examples.filter(([field]) => !rowOf(field).document))("cannot say %s", (field, value) => {
    expect(writeStep({ ...plainStep, [field]: value })).toBeUndefined();
  });

  test("says nothing of a field that is as it always is", () => {
    expect(writeStep(plainStep)).toEqual({});
  });
});

const said = (words: string[]) => {
  const command = new Command();
  const read = addStepFlags(command, {});
  command.parse(words, { from: "user" });
  return read([], command.opts());
};

test.each(Object.entries(spoken))("a command line says %s", (field, [words, value]) => {
  expect(said(words)).toEqual({ ...plainStep, [field]: value });
});

test("a command line without flags says nothing", () => {
  expect(said([])).toEqual(plainStep);
});

const permissions = {
  images: ["alpine"],
  volumes: [],
  networks: ["none" as const],
  ceilings: { memory: 1 << 26, cpus: 1.5, pidsLimit: 10, timeout: 60 },
};
const permitted = (plan: Plan) =>
  permit({ ...plan, masked: undefined, shortSecrets: undefined } as never, permissions);

test.each(examples.filter(([field]) => rowOf(field).permission === "free"))(
  "a host's executor lets a plan have its %s: %j",
  (field, value) => {
    expect(permitted(planOf({ [field]: value })).steps[0]).toEqual({
      ...plainStep,
      ...permissions.ceilings,
      ...(value !== undefined && { [field]: value }),
    });
  },
);

const never = ["interactive", "terminal"] as const;

test.each(never)("a host's executor lets no plan be %s", (field) => {
  expect(() => permitted(planOf({ [field]: true }))).toThrow(
    expect.objectContaining({ code: "not_permitted" }),
  );
});

const needRoot: [string, Partial<Step>, Partial<Plan>?][] = [
  ["--memory", { memory: 1 << 26 }],
  ["--cpus", { cpus: 1 }],
  ["--pids-limit", { pidsLimit: 1 }],
  ["--network bridge", { network: "bridge" }],
  ["--on-leak", {}, { onLeak: "warn" }],
  ["--tag", {}, { tag: "a" }],
  ["--publish", {}, { publish: "a" }],
  ["--storage-opt", {}, { storage: { size: 1 << 24 } }],
];

test.each(needRoot)("without root there is no %s", (flag, step, plan) => {
  const wanted = { ...planOf(step), ...plan };
  expect(() => checkRootless(wanted)).toThrow(expect.objectContaining({ detail: `${flag} needs root` }));
});

test("without root there is all the rest", () => {
  const needed = needRoot.flatMap(([, step]) => Object.keys(step));
  for (const [field, value] of examples) {
    if (needed.includes(field) && value !== "host") continue;
    checkRootless(planOf({ [field]: value }));
  }
});

/** What each front end can write of a step and of a plan, in its order. */
const frontEnds: [string, { step: string[]; plan: string[] }][] = [
  ["TypeScript", membersOf("sdk/typescript/plan.ts", /interface (\w+) \{\n(.*?)\n\}/gs, /^ {2}(\w+)\??:/gm)],
  ["Go", membersOf("sdk/go/plan.go", /type (\w+) struct \{\n(.*?)\n\}/gs, /json:"(\w+)/g)],
  [
    "Python",
    membersOf(
      "sdk/python/src/claimcheck/_container.py",
      /(plan|fields) = \{\n(.*?)\n {4,8}\}/gs,
      /^\s+(?:\*\*\(\{\}.*else \{|\*\*\(\{)?"(\w+)":/gm,
    ),
  ],
];

function membersOf(path: string, types: RegExp, members: RegExp): { step: string[]; plan: string[] } {
  const text = readFileSync(new URL(`../../../../${path}`, import.meta.url), "utf8");
  const found = Object.fromEntries(
    [...text.matchAll(types)].map(([, name = "", body = ""]) => [
      name.toLowerCase(),
      [...body.matchAll(members)].map(([, member = ""]) => member),
    ]),
  );
  return { step: found.step ?? found.fields ?? [], plan: found.plan ?? [] };
}

test.each(frontEnds)("chains in %s can say what the tables say that they can", (_, { step, plan }) => {
  const inTable = stepFields.map(rowOf).filter((row) => row.frontEnds);
  expect(step).toEqual(inTable.map(({ document }) => document?.name));
  const ofPlan = planFields.map(planRowOf).filter((row) => row.frontEnds);
  const names = ofPlan.map(({ document }) => document?.name);
  expect([...plan].sort()).toEqual([...names, "version", "image", "steps", "want"].sort());
});

/** What a document can leave out of a plan; what is not here does not compile. */
const ofPlan: { readonly [Name in FieldsWith<typeof planTable, "document", object>]: Plan[Name] } = {
  registries: [{ address: "registry.example", user: "ci", password: { uri: "env://A", cacheKey: "k" } }],
  onLeak: "warn",
  tag: "a",
  publish: "registry.example/a",
  storage: { size: 1 << 24, inodes: 100 },
};

test("a document says all of a plan as it is read", () => {
  const document = PlanDocument.parse({ version: 1, image: "alpine", steps: [{}], ...writePlan(ofPlan) });
  expect(generalOf(document)).toEqual({ image: "alpine", ...ofPlan });
});
