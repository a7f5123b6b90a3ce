/** Long work on what a container left, in turns: whatever else this process does goes on meanwhile. */
import { setImmediate } from "node:timers/promises";
import type { Member, Piece } from "./tar-reader.ts";

/** Of one turn, in milliseconds. */
const turn = 20;

/** @param check called now and then; it throws when that is enough. */
export async function* taking(members: AsyncIterable<Member>, check: () => void): AsyncGenerator<Member> {
  let since = performance.now();

  async function rest(): Promise<void> {
    if (performance.now() - since < turn) return;
    check();
    await setImmediate();
    since = performance.now();
  }

  async function* pieces(content: AsyncIterable<Piece>): AsyncGenerator<Piece> {
    for await (const piece of content) {
      yield piece;
      await rest();
    }
  }

  for await (const { entry, content } of members) {
    yield { entry, content: pieces(content) };
    await rest();
  }
}
