import { printable } from "../../shared/printable.ts";
import type { Fault } from "../../shared/yaml-document.ts";

/** `FILE:LINE: what is wrong` on standard error, as compilers say it. */
export function printFaults(path: string, faults: readonly Fault[]): void {
  for (const { line, message } of faults)
    process.stderr.write(`${printable(path)}:${line}: ${printable(message)}\n`);
}
