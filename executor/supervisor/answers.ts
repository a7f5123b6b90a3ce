/** What a supervisor answers, a word at the start of a line, and who waits for which word. */
import { once } from "node:events";
import type { Socket } from "node:net";
import { Failure } from "../../shared/failure.ts";

/** For an answer of a supervisor, in milliseconds: then something hangs that it waits for. */
const answerLimit = 120_000;

interface Waiting {
  readonly resolve: (rest: string) => void;
  readonly reject: (failure: Failure) => void;
}

interface Means {
  /** Makes a failure of what the supervisor says that it could not do. */
  readonly explain: (step: string) => Promise<Failure>;
  /** Ends a supervisor that does not answer. */
  readonly kill: () => void;
}

export function createAnswers(stream: Socket, { explain, kill }: Means) {
  const waiting = new Map<string, Waiting>();
  let failed: Failure | undefined;
  let explained: Promise<void> | undefined;
  let begun = "";

  function fail(failure: Failure): void {
    failed ??= failure;
    for (const { reject } of waiting.values()) reject(failed);
    waiting.clear();
  }

  function take(line: string): void {
    const [word = "", ...rest] = line.split(" ");
    if (word === "failed") {
      explained = explain(rest.join(" ")).then(fail);
      return;
    }
    waiting.get(word)?.resolve(rest.join(" "));
    waiting.delete(word);
  }

  stream.setEncoding("utf8").on("data", (text: string) => {
    const lines = (begun + text).split("\n");
    begun = lines.pop() ?? "";
    lines.forEach(take);
  });

  return {
    fail,

    /** The text behind the word in the supervisor's answer. A failure also rejects all who wait for another answer. */
    answer(word: string): Promise<string> {
      if (failed) return Promise.reject(failed);
      const answered = new Promise<string>((resolve, reject) => waiting.set(word, { resolve, reject }));
      // A command may take as long as it likes; nothing else does.
      const late = () => {
        fail(new Failure("runtime_failed", { detail: `it was not "${word}" after ${answerLimit / 1000} s` }));
        kill();
      };
      const timer = word === "exited" ? undefined : setTimeout(late, answerLimit);
      answered.finally(() => clearTimeout(timer)).catch(() => {});
      return answered;
    },

    /** After the supervisor's end. @param silence what it is where the supervisor did not say why. */
    async settle(silence: () => Promise<Failure>): Promise<void> {
      // What it said last may still be on its way; only then is silence a failure.
      if (!stream.closed) await once(stream, "close");
      explained ??= silence().then(fail);
      await explained;
    },
  };
}
