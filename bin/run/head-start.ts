/**
 * What takes long to start and needs nothing to be known is started while this process still loads its own code, on
 * another core: a third of what a run costs.
 */
import { forbidCores, launchSupervisor, type SupervisorProcess } from "../../executor/supervisor/launch.ts";
import { toolEnvironment } from "../host/environment.ts";

/** @returns what `claimcheck run` with these arguments will need, unless another process is to run the container. */
export function launchForRun(
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
): SupervisorProcess | undefined {
  const isElsewhere = environment.CLAIMCHECK_EXECUTOR || args.some((each) => each.startsWith("--executor"));
  if (args[2] !== "run" || args.includes("--help") || isElsewhere || process.platform !== "linux")
    return undefined;
  const tools = toolEnvironment(environment);
  // Who waits for it later learns why it could not be done.
  forbidCores(tools).catch(() => {});
  return launchSupervisor(tools);
}
