/** claimcheck shell: chains of containers as pipelines of verbs. */
import { Command } from "commander";
import { Secret } from "../../sdk/typescript/secret.ts";
import { attempt, type Call, findVerb, parametersOf, type Spoken, takeArguments } from "../chain/chain.ts";
import { type Pipeline, parseScript, type Stage, type Word, wrongAt } from "../chain/pipeline.ts";
import { type ChainOptions, runChain, withChainOptions } from "../chain/run-chain.ts";
import { verbs } from "../chain/verbs.ts";
import { decodeText } from "../host/bytes.ts";
import { limits, readNamed } from "../host/read.ts";

interface ShellOptions extends ChainOptions {
  readonly command?: string;
}

export function shellCommand(): Command {
  return withChainOptions(new Command("shell"))
    .description("Run chains of containers that are written as pipelines, one after the other.")
    .argument("[file]", "the file with the pipelines; standard input by default")
    .option("-c, --command <PIPELINE>", "run this pipeline instead of a file")
    .addHelpText("after", help)
    .action(async (file: string | undefined, options: ShellOptions) => {
      const pipelines = parseScript(options.command ?? read(file));
      const place = { isPublic: options.command !== undefined };
      // All of them are understood before the first one runs.
      const all = pipelines.map((pipeline) => callsOf(pipeline, place));
      for (const calls of all) {
        await runChain(calls, options);
        if (process.exitCode) return;
      }
    });
}

const help = `
Verbs, each followed by its arguments; a <secret> is a URI or $(secret <uri> [--cache-key <text>]):
${verbs.map((verb) => `  ${`${verb.name} ${parametersOf(verb)}`.trim()}\n      ${verb.summary}`).join("\n")}

Example:
  claimcheck shell -c 'container | from alpine:latest |
    with-secret-variable MY_SECRET env://API_TOKEN |
    with-exec -- sh -c "echo this is the secret: \\$MY_SECRET" | stdout'`;

function read(file: string | undefined): string {
  const name = file ?? "standard input";
  return decodeText(readNamed(name, file ?? "/dev/stdin", limits.script), name);
}

type Publicity = Parameters<typeof findVerb>[1];

const callsOf = (pipeline: Pipeline, publicity: Publicity): Call[] =>
  pipeline.map((stage) => callOf(stage, publicity));

function callOf(stage: Stage, publicity: Publicity): Call {
  const [word, ...words] = stage.map((each) => spokenOf(each, publicity)) as [Spoken, ...Spoken[]];
  const verb = findVerb(word, publicity);
  return { verb, word, given: takeArguments({ verb, word }, words, { positional: true }).given };
}

function spokenOf({ content, place, quoted }: Word, publicity: Publicity): Spoken {
  const wrong = (detail: string) => wrongAt(place, detail);
  if (typeof content === "string") return { content, plain: !quoted, wrong };
  if (content.length === 0) throw wrong("a secret is missing");
  const { verb, word, given } = callOf(content, publicity);
  const made = verb.on === "nothing" ? attempt(word, () => verb.apply(undefined as never, given)) : undefined;
  if (!(made instanceof Secret)) throw word.wrong("only a secret can be used here: write $(secret URI)");
  return { content: made, plain: false, wrong };
}
