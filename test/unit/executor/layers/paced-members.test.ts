/** Long work that leaves others their turn. */
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { taking } from "../../../../executor/layers/paced-members.ts";
import type { Entry } from "../../../../executor/layers/tar.ts";
import type { Member } from "../../../../executor/layers/tar-reader.ts";

/** Without an end, and without a wait for anything. */
async function* endless(): AsyncGenerator<Member> {
  const bytes = new Uint8Array(1);
  for (;;) {
    const content = (async function* () {
      for (let offset = 0; offset < 1000; offset++) yield { offset, bytes };
    })();
    yield { entry: {} as Entry, content };
  }
}

test("work that takes too long is ended by who looks at the time", async () => {
  let looks = 0;
  const check = () => {
    looks += 1;
    if (looks === 3) throw new Error("enough");
  };
  const work = async () => {
    for await (const { content } of taking(endless(), check)) for await (const _ of content);
  };
  await expect(work()).rejects.toThrow("enough");
});

test("whatever else there is to do is done meanwhile", async () => {
  let others = 0;
  const check = () => {
    if (others >= 3) throw new Error("enough");
  };
  const work = async () => {
    for await (const { content } of taking(endless(), check)) for await (const _ of content);
  };
  const other = async () => {
    while (others < 3) {
      await setImmediate();
      others += 1;
    }
  };
  await Promise.all([other(), expect(work()).rejects.toThrow("enough")]);
});
