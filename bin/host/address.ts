/** HOST:PORT, with an IPv6 address in brackets. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

export function splitAddress(text: string): Address | undefined {
  const at = text.lastIndexOf(":");
  const port = Number(text.slice(at + 1));
  if (at < 1 || !Number.isInteger(port) || port < 1 || port > 65535) return undefined;
  return { host: text.slice(0, at).replace(/^\[(.*)\]$/, "$1"), port };
}
