/** Times as people write them: a number and its unit, or a number of seconds, as with podman. */
const units = { s: 1, m: 60, h: 60 * 60, d: 24 * 60 * 60 } as const;

/** @returns seconds; undefined for what is no time. Where fewer spellings are good, the caller says which. */
export function readDuration(text: string): number | undefined {
  const [, amount, unit = "s"] = /^(\d{1,9}(?:\.\d{1,3})?)([smhd])?$/.exec(text) ?? [];
  return amount === undefined ? undefined : Number(amount) * units[unit as keyof typeof units];
}
