// Inputs of the scrubber's bench: the same bytes at every run, so that figures can be compared.

/** Numbers below `n`, the same ones for the same seed (xorshift32). */
export function dice(seed: number): (n: number) => number {
  let x = seed | 1;
  return (n) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % n;
  };
}

const words =
  "api auth build cache check client common config core data default deploy docker driver error event fetch file filter format graph handler index input internal json layer lib loader local log main manager merge metrics module network node option output package parser path pipeline plugin policy pool provider proxy queue reader render request resource response result router runner runtime schema server service session socket source state storage stream system task test thread token tree type update user util validator value vector version worker writer".split(
    " ",
  );

/** About `size` bytes of what compilers, package managers and test runners print: 98 bytes a line on average. */
export function ciLog(size: number, seed = 1): Uint8Array {
  const roll = dice(seed);
  const word = () => words[roll(words.length)]!;
  const hex = (n: number) => Array.from({ length: n }, () => roll(16).toString(16)).join("");
  const path = (depth: number) => Array.from({ length: depth }, word).join("/");
  const two = (n: number) => String(roll(n)).padStart(2, "0");
  const time = () =>
    `2026-03-${two(28)}T${two(24)}:${two(60)}:${two(60)}.${String(roll(1e6)).padStart(6, "0")}0Z`;
  const lines: (() => string)[] = [
    () =>
      `${time()} [INFO] Compiling ${word()}-${word()} v${roll(9)}.${roll(30)}.${roll(9)} (/home/runner/work/${path(4)})`,
    () =>
      `${time()} ok   ${path(3)}_test.go ${roll(9)}.${two(100)}s coverage: ${roll(100)}.${roll(10)}% of statements in ./...`,
    () =>
      `${time()} npm http fetch GET 200 https://registry.example.com/${word()}-${word()}/-/${word()}-${roll(9)}.${roll(20)}.0.tgz ${roll(900)}ms (cache miss)`,
    () =>
      `${time()} #${roll(40)} sha256:${hex(64)} ${roll(90)}.${roll(9)}MB / ${roll(99)}.${roll(9)}MB ${roll(30)}.${roll(9)}s`,
    () =>
      `${time()} src/${path(3)}.ts(${roll(400)},${roll(80)}): warning TS${6000 + roll(999)}: '${word()}${word()}' is declared but its value is never read.`,
    () =>
      `${time()} PASS test/unit/${path(2)}.test.ts > ${word()} > ${word()} the ${word()} when the ${word()} is ${word()} (${roll(300)} ms)`,
    () =>
      `${time()} Step ${roll(30)}/30 : RUN apt-get install -y --no-install-recommends lib${word()}-dev lib${word()}${roll(9)}`,
    () =>
      `${time()}     at ${word()}.${word()} (/app/node_modules/${word()}/lib/${word()}.js:${roll(900)}:${roll(60)})`,
    () => `${time()} ---> ${hex(12)}`,
    () =>
      `${time()} {"level":"info","msg":"${word()} ${word()}","trace":"${hex(16)}","took":${roll(9000)},"status":200}`,
  ];
  const parts: string[] = [];
  for (let length = 0; length < size; ) {
    const line = `${lines[roll(lines.length)]!()}\n`;
    parts.push(line);
    length += line.length;
  }
  return new TextEncoder().encode(parts.join("")).subarray(0, size);
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/** Secrets of letters and digits, 16 to 40 bytes long, as services hand them out. */
export function tokens(count: number, seed = 7, length?: number): Uint8Array[] {
  const roll = dice(seed);
  return Array.from({ length: count }, () => {
    const bytes = new Uint8Array(length ?? 16 + roll(25));
    for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(roll(letters.length));
    return bytes;
  });
}
