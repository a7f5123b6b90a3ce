/** What is around every provider: one read for many askers, batches, memory, time limit, retries, circuit. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  type Provider,
  type ReadResult,
  type SecretReference,
  SourceFailure,
} from "../../../../broker/providers/provider.ts";
import { createSharedRead } from "../../../../broker/resolve/shared-read.ts";
import { unnamed } from "../../../../broker/resolve/source.ts";
import { ClaimcheckError } from "../../../../shared/errors.ts";
import { Secret } from "../../../../shared/secret.ts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

const reference = (name: string): SecretReference => ({
  scheme: "red",
  canonical: `red://${name}`,
  shown: "red://…",
});

interface Call {
  readonly names: string[];
  readonly signal: AbortSignal;
  readonly answer: (result: (name: string) => ReadResult) => void;
}

/** A provider whose answers the test gives by hand, one read at a time. */
function handProvider(settings: Partial<Provider> = {}, valueTime = 0) {
  const calls: Call[] = [];
  const handedOut: Secret[] = [];
  const provider: Provider = {
    scheme: "red",
    parameters: [],
    parse: reference,
    read: (references, signal) =>
      new Promise((resolve) => {
        const names = references.map(({ canonical }) => canonical.slice("red://".length));
        const answer: Call["answer"] = (result) => {
          const results = names.map(result);
          handedOut.push(...results.filter((each) => each instanceof Secret));
          resolve(results);
        };
        calls.push({ names, signal, answer });
      }),
    ...settings,
  };
  const source = createSharedRead(unnamed(provider), valueTime);
  const read = (name: string, maxAge?: number, tenant = "acme") =>
    source.read(tenant, reference(name), maxAge).then(said);
  return { calls, handedOut, source, read };
}

/** What an asker got, as a text. */
const said = (result: ReadResult) =>
  result instanceof Secret ? Buffer.from(result.expose()).toString() : result.code;

const value = (text: string) => new Secret(Buffer.from(text));
const missing = () => new ClaimcheckError("secret_not_found");
/** Lets what waits for this turn of the event loop go out. */
const turn = () => vi.advanceTimersByTimeAsync(0);

describe("askers for one secret", () => {
  test("share a read, and each gets bytes of its own", async () => {
    const { source, calls, handedOut } = handProvider();
    const askers = [1, 2, 3].map(() => source.read("acme", reference("one")));
    await turn();
    expect(calls.map(({ names }) => names)).toEqual([["one"]]);
    calls[0]?.answer(() => value("v"));
    const results = (await Promise.all(askers)) as Secret[];
    results[0]?.wipe();
    expect(results.slice(1).map(said)).toEqual(["v", "v"]);
    for (const result of results) result.wipe();
    expect(() => handedOut[0]?.expose()).toThrow("wiped");
  });

  test("join a read that is under way", async () => {
    const { read, calls } = handProvider();
    const first = read("one");
    await turn();
    const second = read("one");
    await turn();
    calls[0]?.answer(() => value("v"));
    expect([await first, await second, calls.length]).toEqual(["v", "v", 1]);
  });

  test("do not join a read that began too long ago for them", async () => {
    const { read, calls } = handProvider();
    const first = read("one");
    await turn();
    const second = read("one", 0);
    await turn();
    expect(calls).toHaveLength(2);
    calls[1]?.answer(() => value("new"));
    calls[0]?.answer(() => value("old"));
    expect([await first, await second]).toEqual(["old", "new"]);
  });

  test("of two tenants never share one", async () => {
    const { read, calls } = handProvider({ batchSize: 1 });
    const both = [read("one", undefined, "acme"), read("one", undefined, "rival")];
    await turn();
    expect(calls).toHaveLength(2);
    calls[0]?.answer(() => value("a"));
    calls[1]?.answer(() => value("b"));
    expect(await Promise.all(both)).toEqual(["a", "b"]);
  });
});

describe("what arrives together", () => {
  test("goes out in one read, also from several requests", async () => {
    const { read, calls } = handProvider();
    const all = [read("one"), read("two"), read("three")];
    await turn();
    expect(calls.map(({ names }) => names)).toEqual([["one", "two", "three"]]);
    calls[0]?.answer(value);
    expect(await Promise.all(all)).toEqual(["one", "two", "three"]);
  });

  test("of two tenants goes out apart: neither waits for the other's", async () => {
    const { read, calls } = handProvider();
    const [slow, quick] = [read("one"), read("two", undefined, "rival")];
    await turn();
    expect(calls.map(({ names }) => names)).toEqual([["one"], ["two"]]);
    calls[1]?.answer(value);
    expect(await quick).toBe("two");
    calls[0]?.answer(value);
    expect(await slow).toBe("one");
  });

  test("goes out in reads of the size that the provider takes", async () => {
    const { read, calls } = handProvider({ batchSize: 2 });
    for (const name of ["a", "b", "c"]) void read(name);
    await turn();
    expect(calls.map(({ names }) => names)).toEqual([["a", "b"], ["c"]]);
  });

  test("runs side by side up to the provider's bound, the rest in turn", async () => {
    const { read, calls } = handProvider({ batchSize: 1, concurrency: 2 });
    const all = ["a", "b", "c"].map((name) => read(name));
    await turn();
    expect(calls.map(({ names }) => names)).toEqual([["a"], ["b"]]);
    calls[1]?.answer(value);
    await turn();
    expect(calls.map(({ names }) => names)).toEqual([["a"], ["b"], ["c"]]);
    calls[0]?.answer(value);
    calls[2]?.answer(value);
    expect(await Promise.all(all)).toEqual(["a", "b", "c"]);
  });
});

describe("a value that was read", () => {
  async function readOnce(valueTime: number) {
    const made = handProvider({}, valueTime);
    const first = made.read("one");
    await turn();
    made.calls[0]?.answer(() => value("v"));
    expect(await first).toBe("v");
    return made;
  }

  /** Whether an asker is answered without a read. */
  async function isKnown({ read, calls }: ReturnType<typeof handProvider>, ...args: [number?, string?]) {
    const before = calls.length;
    void read("one", ...args);
    await turn();
    return calls.length === before;
  }

  test("is not kept unless the operator says so", async () => {
    expect(await isKnown(await readOnce(0))).toBe(false);
  });

  test("is given out again until its time is over", async () => {
    const made = await readOnce(60_000);
    await vi.advanceTimersByTimeAsync(59_999);
    expect(await made.read("one")).toBe("v");
    expect(made.calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(await isKnown(made)).toBe(false);
  });

  test("is read again for an asker who wants it younger, or fresh", async () => {
    const made = await readOnce(60_000);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(await isKnown(made, 5_001)).toBe(true);
    expect(await isKnown(made, 5_000)).toBe(false);
    expect(await isKnown(made, 0)).toBe(false);
  });

  test("is not given to another tenant", async () => {
    expect(await isKnown(await readOnce(60_000), undefined, "rival")).toBe(false);
  });
});

describe("a failure", () => {
  async function failOnce(failure: ClaimcheckError) {
    const made = handProvider();
    const first = made.read("one");
    await turn();
    made.calls[0]?.answer(() => failure);
    await first;
    return made;
  }

  test("that is an answer is believed for 10 seconds", async () => {
    const { read, calls } = await failOnce(missing());
    await vi.advanceTimersByTimeAsync(9_999);
    expect(await read("one")).toBe("secret_not_found");
    expect(calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    void read("one");
    await turn();
    expect(calls).toHaveLength(2);
  });

  test("is asked about again with a ttl of 0, and a value then stands against it", async () => {
    const { read, calls } = await failOnce(missing());
    const again = read("one", 0);
    await turn();
    calls[1]?.answer(() => value("v"));
    expect(await again).toBe("v");
    void read("one");
    await turn();
    expect(calls).toHaveLength(3);
  });

  test.each([
    new SourceFailure("provider_unreachable"),
    new ClaimcheckError("provider_timeout"),
    new ClaimcheckError("internal"),
  ])("that says nothing about the secret is forgotten: $code", async (failure) => {
    const { read, calls } = await failOnce(failure);
    void read("one");
    await turn();
    expect(calls).toHaveLength(2);
  });
});

describe("a source that says it is a matter of time", () => {
  const busy = (after?: number) => new SourceFailure("provider_busy", { again: true, after });

  test("is asked again when it wants to be, and only for what failed", async () => {
    const { read, calls } = handProvider();
    const both = [read("one"), read("two")];
    await turn();
    calls[0]?.answer((name) => (name === "one" ? value(name) : busy(2_000)));
    await vi.advanceTimersByTimeAsync(1_999);
    expect(calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(calls.map(({ names }) => names)).toEqual([["one", "two"], ["two"]]);
    calls[1]?.answer(value);
    expect(await Promise.all(both)).toEqual(["one", "two"]);
  });

  test("is asked three times, with longer and longer pauses where it names none", async () => {
    const { read, calls } = handProvider();
    const asked = read("one");
    await turn();
    calls[0]?.answer(() => busy());
    await vi.advanceTimersByTimeAsync(124);
    expect(calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(251);
    expect(calls).toHaveLength(2);
    calls[1]?.answer(() => busy());
    await vi.advanceTimersByTimeAsync(249);
    expect(calls).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(501);
    expect(calls).toHaveLength(3);
    calls[2]?.answer(() => busy());
    expect(await asked).toBe("provider_busy");
  });

  test("is not asked again at once when it does not say so", async () => {
    const { read, calls } = handProvider();
    const asked = read("one");
    await turn();
    calls[0]?.answer(() => new SourceFailure("provider_unreachable"));
    expect(await asked).toBe("provider_unreachable");
    expect(calls).toHaveLength(1);
  });

  test("is left alone by everybody when it wants more time than there is", async () => {
    const { read, calls } = handProvider();
    const asked = read("one");
    await turn();
    calls[0]?.answer(() => busy(60_000));
    expect(await asked).toBe("provider_busy");
    await vi.advanceTimersByTimeAsync(59_999);
    const refused = read("two");
    await turn();
    expect(await refused).toBe("provider_busy");
    expect(calls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    void read("three");
    await turn();
    expect(calls).toHaveLength(2);
  });
});

describe("the circuit", () => {
  async function ask(made: ReturnType<typeof handProvider>, result: (name: string) => ReadResult) {
    const before = made.calls.length;
    const asked = made.read(`secret-${before}`);
    await turn();
    made.calls[before]?.answer(result);
    return asked;
  }
  const down = () => new SourceFailure("provider_unreachable");
  /** What an asker is told without the source being asked. */
  async function told({ read, calls }: ReturnType<typeof handProvider>) {
    const before = calls.length;
    const asked = read("other");
    await turn();
    expect(calls).toHaveLength(before);
    return asked;
  }

  async function openCircuit() {
    const made = handProvider();
    for (let nth = 0; nth < 5; nth++) await ask(made, down);
    return made;
  }

  test("opens after five failures in a row: nobody asks, everybody is told why", async () => {
    const made = await openCircuit();
    expect(await told(made)).toBe("provider_unreachable");
  });

  test("counts no failure that is about a secret, and none before a success", async () => {
    const made = handProvider();
    for (let nth = 0; nth < 4; nth++) await ask(made, down);
    await ask(made, missing);
    for (let nth = 0; nth < 4; nth++) await ask(made, down);
    expect(await ask(made, value)).toBe("secret-9");
  });

  test("lets one probe through after its time, and closes when that succeeds", async () => {
    const made = await openCircuit();
    await vi.advanceTimersByTimeAsync(10_000);
    const probe = made.read("probe");
    await turn();
    expect(await told(made)).toBe("provider_unreachable");
    made.calls[5]?.answer(value);
    expect(await probe).toBe("probe");
    expect(await ask(made, value)).toBe("secret-6");
  });

  test("opens again when the probe fails, until the next probe", async () => {
    const made = await openCircuit();
    for (let nth = 0; nth < 2; nth++) {
      await vi.advanceTimersByTimeAsync(10_000);
      expect(await ask(made, down)).toBe("provider_unreachable");
      expect(await told(made)).toBe("provider_unreachable");
    }
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await ask(made, value)).toBe("secret-7");
  });

  test("stays open for a probe that fails after the source had its rest", async () => {
    const made = handProvider();
    await ask(made, () => new SourceFailure("provider_busy", { after: 60_000 }));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await ask(made, down)).toBe("provider_unreachable");
    expect(await told(made)).toBe("provider_unreachable");
  });
});

describe("what one tenant's reads come to is its own:", () => {
  /** Whether another tenant's read reaches the source. */
  async function reaches({ read, calls }: ReturnType<typeof handProvider>, tenant: string): Promise<boolean> {
    const before = calls.length;
    const asked = read("theirs", undefined, tenant);
    await turn();
    const reached = calls.length > before;
    calls[before]?.answer(value);
    if (reached) expect(await asked).toBe("theirs");
    return reached;
  }

  test("failures in a row open its circuit, and no other", async () => {
    const made = handProvider();
    for (let nth = 0; nth < 5; nth++) {
      void made.read(`secret-${nth}`);
      await turn();
      made.calls[nth]?.answer(() => new SourceFailure("provider_unreachable"));
      await turn();
    }
    expect(await reaches(made, "acme")).toBe(false);
    expect(await reaches(made, "rival")).toBe(true);
  });

  test("a source that wants to be left alone for a day is left alone for a minute, by the one it told so", async () => {
    const made = handProvider();
    void made.read("one");
    await turn();
    made.calls[0]?.answer(() => new SourceFailure("provider_busy", { again: true, after: 86_400_000 }));
    await turn();
    expect(await reaches(made, "rival")).toBe(true);
    await vi.advanceTimersByTimeAsync(59_999);
    expect(await reaches(made, "acme")).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(await reaches(made, "acme")).toBe(true);
  });

  test("reads that hang take its turns, and nobody else's", async () => {
    const made = handProvider({ batchSize: 1, concurrency: 2 });
    for (const name of ["a", "b", "c"]) void made.read(name);
    await turn();
    expect(made.calls).toHaveLength(2);
    expect(await reaches(made, "rival")).toBe(true);
  });

  test("failures that it fills the memory with push out none of another's", async () => {
    const made = handProvider();
    const theirs = made.read("one", undefined, "rival");
    await turn();
    made.calls[0]?.answer(missing);
    expect(await theirs).toBe("secret_not_found");
    for (let nth = 0; nth < 3; nth++) {
      const many = Array.from({ length: 3_000 }, (_, each) =>
        made.read(`${nth}-${each}-${"x".repeat(8_000)}`),
      );
      await turn();
      made.calls.at(-1)?.answer(missing);
      await Promise.all(many);
    }
    const before = made.calls.length;
    expect(await made.read("one", undefined, "rival")).toBe("secret_not_found");
    expect(made.calls).toHaveLength(before);
  });
});

describe("the time limit", () => {
  test("ends a read, and what the provider says for itself counts", async () => {
    const { read, calls } = handProvider({ timeLimit: 1_000 });
    const asked = read("one");
    await turn();
    calls[0]?.signal.addEventListener("abort", () =>
      calls[0]?.answer(() => new ClaimcheckError("provider_failed")),
    );
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await asked).toBe("provider_failed");
  });

  test("ends one that does not heed the signal, and wipes what it brings later", async () => {
    const { read, calls, handedOut } = handProvider({ timeLimit: 1_000 });
    const asked = read("one");
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await asked).toBe("provider_timeout");
    calls[0]?.answer(() => value("late"));
    await turn();
    expect(() => handedOut[0]?.expose()).toThrow("wiped");
  });

  test("holds for those who wait in line too", async () => {
    const { read, calls } = handProvider({ timeLimit: 1_000, batchSize: 1, concurrency: 1 });
    void read("one");
    const second = read("two");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await second).toBe("provider_timeout");
    expect(calls.map(({ names }) => names)).toEqual([["one"]]);
  });

  test("holds for retries", async () => {
    const { read, calls } = handProvider({ timeLimit: 1_000 });
    const asked = read("one");
    await turn();
    calls[0]?.answer(() => new SourceFailure("provider_busy", { again: true, after: 1_000 }));
    expect(await asked).toBe("provider_busy");
  });
});
