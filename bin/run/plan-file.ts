/** The file of `claimcheck run --plan FILE`: a plan as YAML or JSON, paths of this host relative to it. */
import { dirname, resolve } from "node:path";
import { generalOf, mapHandles, PlanDocument, toStep } from "../../executor/plan/document.ts";
import { hashPlan } from "../../executor/plan/hash.ts";
import { type PlanFields, plainStep } from "../../executor/plan/plan.ts";
import { Failure } from "../../shared/failure.ts";
import { type Fault, inOrder, readDocument } from "../../shared/yaml-document.ts";
import { decodeText } from "../host/bytes.ts";
import { printFaults } from "../host/print-faults.ts";
import { limits, readNamed } from "../host/read.ts";

export interface PlanFile extends PlanFields {
  readonly hash: string;
  readonly document: PlanDocument;
}

/**
 * All faults at once, with their lines.
 *
 * @param handles for those that the plan calls by a name.
 */
export async function readPlanFile(
  path: string,
  handles: ReadonlyMap<string, string> = new Map(),
): Promise<PlanFile | { readonly faults: readonly Fault[] }> {
  const bytes = readNamed(`the plan ${path}`, path, limits.plan);
  const written = readDocument(decodeText(bytes, path), PlanDocument);
  if ("faults" in written) return written;
  const document = mapHandles(written.value, (handle) => handles.get(handle) ?? handle);
  const faults: Fault[] = [];
  const steps = document.steps.map((fields, index) => {
    try {
      return toStep(fields, (source) => resolve(dirname(path), source));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      faults.push({ line: written.lineOf(["steps", index]), message: `steps[${index}]: ${error.detail}` });
      return plainStep;
    }
  });
  let general: ReturnType<typeof generalOf> | undefined;
  try {
    general = generalOf(document);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    faults.push({ line: written.lineOf(["storage"]), message: error.detail ?? error.message });
  }
  if (!general || faults.length > 0) return { faults: inOrder(faults) };
  return { ...general, steps, hash: hashPlan(document), document };
}

/** @throws {Failure} `usage`, once everything that is wrong has been printed. */
export async function loadPlanFile(path: string, handles?: ReadonlyMap<string, string>): Promise<PlanFile> {
  const read = await readPlanFile(path, handles);
  if (!("faults" in read)) return read;
  printFaults(path, read.faults);
  throw new Failure("usage", { detail: `${path} cannot be used` });
}
