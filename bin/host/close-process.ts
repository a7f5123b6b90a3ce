/** A service that holds secrets: nobody debugs it, and no crash writes it down. */
import type { Complaint } from "../../broker/health.ts";
import { limitCores } from "../../shared/core-files.ts";
import { toolEnvironment } from "./environment.ts";

/** @returns what could not be closed, which is on standard error too. */
export async function closeProcess(environment: NodeJS.ProcessEnv): Promise<readonly Complaint[]> {
  const inspector = await import("node:inspector");
  const complaints: Complaint[] = [];
  const complain = (message: string) => {
    process.stderr.write(`claimcheck: ${message}\n`);
    complaints.push({ part: "process", message, serving: true });
  };
  // claimcheck.cjs keeps SIGUSR1 from opening it; a flag, or a signal before that, may have done so.
  if (inspector.url() !== undefined) inspector.close();
  if (inspector.url() !== undefined) {
    complain("the Node.js inspector is open: anyone who reaches it can read every secret of this process");
  }
  await limitCores(toolEnvironment(environment)).catch(() =>
    complain(
      "core dumps could not be forbidden, so a crash may write every secret of this process to a disk; install util-linux for its prlimit",
    ),
  );
  return complaints;
}
