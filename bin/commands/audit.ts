/** claimcheck audit: what is in an audit log, whether it is still what a broker wrote, and what to do where it is not. */
import { Command } from "commander";
import { acceptHeadCommand } from "./audit-accept.ts";
import { showCommand, tailCommand } from "./audit-show.ts";
import { verifyCommand } from "./audit-verify.ts";

export function auditCommand(): Command {
  return new Command("audit")
    .description("Read and verify an audit log without a broker.")
    .addCommand(showCommand())
    .addCommand(tailCommand())
    .addCommand(verifyCommand())
    .addCommand(acceptHeadCommand());
}
