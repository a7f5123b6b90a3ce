/** The file of `claimcheck run --plan FILE`: a plan as YAML or JSON, paths of this host relative to it. */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { type Fault, readDocument } from "../broker/access/document.ts";
import { Failure } from "../executor/failure.ts";
import { type PlanFields, plainStep } from "../executor/plan.ts";
import { PlanDocument, toStep } from "../executor/plan-document.ts";

/** All faults at once, with their lines. */
export async function readPlanFile(
  path: string,
): Promise<PlanFields | { readonly faults: readonly Fault[] }> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new Failure("usage", { detail: `--plan ${path} cannot be read (${cause.code})`, cause });
  });
  const document = readDocument(text, PlanDocument);
  if ("faults" in document) return document;
  const faults: Fault[] = [];
  const steps = document.value.steps.map((fields, index) => {
    try {
      return toStep(fields, (source) => resolve(dirname(path), source));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      faults.push({ line: document.lineOf(["steps", index]), message: `steps[${index}]: ${error.detail}` });
      return plainStep;
    }
  });
  if (faults.length > 0) return { faults };
  const { image, onLeak, tag, publish } = document.value;
  return {
    image,
    steps,
    ...(onLeak && { onLeak }),
    ...(tag !== undefined && { tag }),
    ...(publish !== undefined && { publish }),
  };
}
