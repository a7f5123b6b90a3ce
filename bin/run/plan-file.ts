/** The file of `claimcheck run --plan FILE`: a plan as YAML or JSON, paths of this host relative to it. */
import { dirname, resolve } from "node:path";
import { generalOf, mapHandles, PlanDocument, toStep } from "../../executor/plan/document.ts";
import { collectFaults, type FaultCollector } from "../../executor/plan/faults.ts";
import { hashPlan } from "../../executor/plan/hash.ts";
import type { PlanFields } from "../../executor/plan/plan.ts";
import { Failure } from "../../shared/failure.ts";
import { type Fault, inOrder, readDocument } from "../../shared/yaml-document.ts";
import { decodeText } from "../host/bytes.ts";
import { printFaults } from "../host/print-faults.ts";
import { limits, readNamed } from "../host/read.ts";

export interface PlanFile extends PlanFields {
  readonly hash: string;
  readonly document: PlanDocument;
}

interface Reading {
  /** For those that the plan calls by a name. */
  readonly handles?: ReadonlyMap<string, string>;
  /** Looks for what a run would find later. */
  readonly check?: (plan: PlanFields, faults: FaultCollector) => void;
}

/** All faults at once, with their lines: also those of fields beside a field that the schema refuses. */
export async function readPlanFile(
  path: string,
  { handles = new Map(), check = () => {} }: Reading = {},
): Promise<PlanFile | { readonly faults: readonly Fault[] }> {
  const bytes = readNamed(`the plan ${path}`, path, limits.plan);
  const written = readDocument(decodeText(bytes, path), PlanDocument);
  const sound = "faults" in written ? written.rest : written;
  const ofSchema = "faults" in written ? written.faults : [];
  if (!sound) return { faults: ofSchema };
  const document = mapHandles(sound.value, (handle) => handles.get(handle) ?? handle);
  const collector = collectFaults();
  const { faults, readIn } = collector;
  const steps = document.steps.map((fields, index) =>
    toStep(fields, (source) => resolve(dirname(path), source), readIn(["steps", index])),
  );
  const plan = { ...generalOf(document, readIn([])), steps };
  check(plan, collector);
  const hash = readIn([])([], () => hashPlan(document), "");
  const all = [...ofSchema, ...faults.map(({ at, message }) => ({ line: sound.lineOf(at), message }))];
  return all.length > 0 ? { faults: inOrder(all) } : { ...plan, hash, document };
}

/** @throws {Failure} `usage`, once everything that is wrong has been printed. */
export async function loadPlanFile(path: string, handles?: ReadonlyMap<string, string>): Promise<PlanFile> {
  const read = await readPlanFile(path, handles ? { handles } : {});
  if (!("faults" in read)) return read;
  printFaults(path, read.faults);
  throw new Failure("usage", { detail: `${path} cannot be used` });
}
