/**
 * Looking handles up in a store that others may be able to write to. What was changed there is as good as not there;
 * what is there can still be lost, or be as it was before: a store that turns time back gives uses back.
 */
import type { Broker } from "../broker.ts";
import { type Marks, openMarks } from "../keys/marks.ts";
import type { HandleState, Taker } from "../store/store.ts";

/** A handle as the store has it, and what its value is known by. */
export type Found = Omit<HandleState, "marks"> & Marks;

/** The open handles among these, in their order. Takes nothing. */
export async function findHandles(
  { store, keys }: Broker,
  tenant: string,
  jtis: readonly string[],
  taker?: Taker,
): Promise<(Found | undefined)[]> {
  const states = await store.look(tenant, jtis, taker);
  // The names are the ones that were asked for, or a store could answer with another handle.
  return jtis.map((jti, index) => {
    const state = states[index];
    if (!state || !keys.isOwnRecord({ ...state, tenant, jti })) return undefined;
    const { marks, ...known } = state;
    const opened = openMarks(keys, tenant, jti, marks);
    return opened && { ...known, ...opened };
  });
}
