/**
 * Variables, of which not all are text. What a program is started with goes through strings in Node.js, so a shell puts
 * the bytes into the environment of another one.
 */

/** Bytes where the value is not UTF-8; `null` where it is set, and nobody can tell which bytes it has. */
export type Environment = Readonly<Record<string, string | Uint8Array | null | undefined>>;

interface ShellCall {
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/** What the bytes of the variable travel in. */
const carrier = (index: number) => `CLAIMCHECK_BYTES_${index}`;

/**
 * How sh is called, so that it runs the command in this environment, byte for byte.
 *
 * @returns the name of a variable whose bytes nobody can tell, if there is one.
 */
export function callShell(
  command: string,
  environment: Environment,
): ShellCall | { readonly unclear: string } {
  const texts: Record<string, string> = Object.create(null);
  const bytes: [name: string, value: Uint8Array][] = [];
  for (const [name, value] of Object.entries(environment)) {
    if (value === null) return { unclear: name };
    if (typeof value === "string") texts[name] = value;
    // A shell knows no variable of another name.
    else if (value && /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) bytes.push([name, value]);
  }
  if (bytes.length === 0) return { args: ["-c", command], environment: texts };
  for (const [index, [, value]] of bytes.entries()) texts[carrier(index)] = escapeBytes(value);
  // The full stop keeps line breaks at the end, which $(…) would take away.
  const settings = bytes.map(
    ([name], index) =>
      `${name}=$(printf %b. "$${carrier(index)}"); export ${name}="\${${name}%.}"; unset ${carrier(index)}`,
  );
  return {
    args: ["-c", `${settings.join("\n")}\nexec /bin/sh -c "$1"`, "sh", command],
    environment: texts,
  };
}

/** As `printf %b` reads it. */
const escapeBytes = (bytes: Uint8Array) =>
  Buffer.from(bytes)
    .toString("latin1")
    .replace(/[^ -[\]-~]/g, (byte) => `\\0${byte.charCodeAt(0).toString(8).padStart(3, "0")}`);
