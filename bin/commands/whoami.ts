/** claimcheck whoami: which principal the broker sees in a token, and which rules of its policy are about that principal. */
import { Command } from "commander";
import { showPattern } from "../../shared/glob.ts";
import { printable, printableJson } from "../../shared/printable.ts";
import type { WhoAmI } from "../../shared/wire.ts";
import { connectRequester, type RequesterOptions, withBroker } from "../connect/requester.ts";

export function whoamiCommand(): Command {
  const command = new Command("whoami").description(
    "Print the tenant, the principal and the roles that the broker gives a token, and which rules are about it.",
  );
  return withBroker(command).action(whoami);
}

async function whoami(options: RequesterOptions): Promise<void> {
  const broker = await connectRequester(options, process.env);
  const found = await broker.whoAmI();
  process.stdout.write(options.format === "json" ? `${printableJson(found)}\n` : show(found));
}

function show({ tenant, principal, roles, proven, rules, more }: WhoAmI): string {
  const lines = [
    `tenant     ${printable(tenant)}`,
    `principal  ${printable(principal)}`,
    `roles      ${roles.join(", ")}`,
    `proof      ${proven ? "the request was proven by a key that the token or the policy names" : "none: the token alone was sent"}`,
    ...rules.map((rule, index) => `${index === 0 ? "rules" : "     "}      ${showRule(rule)}`),
  ];
  if (rules.length === 0) lines.push("rules      none: the policy allows this principal nothing");
  if (more) lines.push("           and more, which are not shown");
  return `${lines.join("\n")}\n`;
}

function showRule({ name, effect, actions, secrets }: WhoAmI["rules"][number]): string {
  const shown = secrets?.map(showPattern);
  const verb = effect === "allow" ? "may" : "may not";
  return `${verb} ${actions.join(", ")} ${shown ? shown.join(" or ") : "all secrets"} (rule "${printable(name)}")`;
}
