/** claimcheck executor: the service on a host that runs what jobs send, and the key by which brokers know it. */
import { Command } from "commander";
import { stateFolder } from "./environment.ts";

export function executorCommand(): Command {
  return new Command("executor")
    .description("Be an executor that brokers know.")
    .addCommand(
      new Command("key")
        .description("Print the thumbprint of its proof key, for the policy and for `issue --jkt`.")
        .action(printKey),
    );
}

async function printKey(): Promise<void> {
  const [{ createIdentity }, { loadProofKey }] = await Promise.all([
    import("../executor/identity.ts"),
    import("./root-key.ts"),
  ]);
  const { jkt } = await createIdentity(await loadProofKey(stateFolder(process.env)));
  process.stdout.write(`${jkt}\n`);
}
