export interface Scrubber {
  stream(): { push(c: Uint8Array): Uint8Array; flush(): Uint8Array; end(): Uint8Array };
  wipe(): void;
}
export function createScrubber(values: readonly Uint8Array[]): Scrubber {
  const v = values.map((x) => Buffer.from(x).toString("latin1"));
  return {
    stream: () => ({
      push: (c) => {
        let s = Buffer.from(c).toString("latin1");
        for (const x of v) if (x) s = s.replaceAll(x, "***");
        return Buffer.from(s, "latin1");
      },
      flush: () => Buffer.alloc(0),
      end: () => Buffer.alloc(0),
    }),
    wipe() {},
  };
}
