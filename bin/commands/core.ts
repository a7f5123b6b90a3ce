/** claimcheck core: a chain of containers as the words of a command line. */
import { Command } from "commander";
import { Failure } from "../../shared/failure.ts";
import { type Call, findVerb, type Spoken, takeArguments } from "../chain/chain.ts";
import { type ChainOptions, runChain, withChainOptions } from "../chain/run-chain.ts";

export function coreCommand(): Command {
  return withChainOptions(new Command("core"))
    .description("Run a chain of containers: verbs, each followed by its arguments as flags.")
    .usage("[options] container VERB [--NAME=VALUE...]...")
    .argument("<verb...>", "see `claimcheck shell --help` for the verbs and their arguments")
    .passThroughOptions()
    .addHelpText("after", help)
    .action((words: string[], options: ChainOptions) => runChain(callsOf(words), options));
}

const help = `
Lists such as those of --args have commas between their items; quote an item that has one: --args='echo,"a,b"'.

Example:
  claimcheck core container from --address=alpine:latest \\
    with-secret-variable --name=MY_SECRET --secret=env://API_TOKEN \\
    with-exec --args=sh,-c,'echo this is the secret: $MY_SECRET' \\
    stdout`;

function callsOf(words: readonly string[]): Call[] {
  const spoken = words.map(
    (content, index): Spoken => ({
      content,
      plain: true,
      wrong: (detail) => new Failure("usage", { detail: `argument ${index + 1}: ${detail}` }),
    }),
  );
  const calls: Call[] = [];
  for (let at = 0; at < spoken.length; ) {
    const word = spoken[at] as Spoken;
    const verb = findVerb(word, { isPublic: true });
    const { given, taken } = takeArguments({ verb, word }, spoken.slice(at + 1), { positional: false });
    calls.push({ verb, word, given });
    at += 1 + taken;
  }
  return calls;
}
