/** claimcheck revoke: handles become void on every replica of the broker before the command ends. */
import { Command } from "commander";
import { Failure } from "../../shared/failure.ts";
import type { RevocationRequest } from "../../shared/wire.ts";
import { connectRequester, type RequesterOptions, readIds, withBroker } from "../connect/requester.ts";

interface RevokeOptions extends RequesterOptions {
  readonly subject?: string;
  readonly run?: string;
  readonly tenant?: true;
}

export function revokeCommand(): Command {
  const command = new Command("revoke")
    .description("Revoke handles: some, or all of a principal, a run or the tenant.")
    .argument("[handles...]", "the ids of handles, or @FILE with handles in it")
    .option("--subject <PRINCIPAL>", "revoke all handles of this principal")
    .option("--run <LABEL>", "revoke all handles with this label")
    .option("--tenant", "revoke all handles of the caller's tenant");
  return withBroker(command).action(revoke);
}

async function revoke(args: string[], { subject, run, tenant, ...options }: RevokeOptions): Promise<void> {
  const many: RevocationRequest[] = [
    ...(subject === undefined ? [] : [{ subject }]),
    ...(run === undefined ? [] : [{ run }]),
    ...(tenant ? [{ all: true } as const] : []),
  ];
  if (many.length + Math.min(args.length, 1) !== 1) {
    throw new Failure("usage", { detail: "handles, --subject, --run or --tenant: one of them" });
  }
  const asked = many.length > 0 ? many : (await readIds(args)).map((jti) => ({ jti }));
  const broker = await connectRequester(options, process.env);
  // One that cannot be revoked keeps none of the others alive.
  const done = await Promise.allSettled(asked.map((each) => broker.revoke(each)));
  const revoked = asked.filter((_, index) => done[index]?.status === "fulfilled");
  if (options.format === "json") process.stdout.write(`${JSON.stringify({ revoked })}\n`);
  else process.stdout.write(revoked.map((each) => `revoked ${describe(each)}\n`).join(""));
  const failed = done.findIndex(({ status }) => status === "rejected");
  if (failed < 0) return;
  const { reason } = done[failed] as PromiseRejectedResult;
  if (reason instanceof Failure) reason.detail ??= describe(asked[failed] as RevocationRequest);
  throw reason;
}

function describe(asked: RevocationRequest): string {
  if ("jti" in asked) return asked.jti;
  if ("subject" in asked) return `all of ${asked.subject}`;
  return "run" in asked ? `all of the run ${asked.run}` : "all of the tenant";
}
