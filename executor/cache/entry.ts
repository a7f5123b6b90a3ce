/**
 * A result as it lies in a file:
 *
 *     claimcheck-cache/2 MAC LF       base64url HMAC-SHA-256 over all that follows
 *     {"key":…,"image":…,"layers":[…],"stdout":LENGTH,"stderr":LENGTH} LF
 *     what the command printed, scrubbed: standard output, then standard error
 *
 * The number is the version of this form and of the keys (key.ts). The MAC's key lies elsewhere. So what was cut, changed, or put in another result's place by somebody who can only
 * write here is no result.
 */
import { createHmac, type KeyObject, timingSafeEqual } from "node:crypto";
import * as z from "zod/mini";

const version = 2;
const magic = `claimcheck-cache/${version}`;
const lineFeed = 0x0a;

/** What a command that ended with 0 left behind. */
export interface CachedResult {
  /** What people call the image that it comes from; for lists. */
  readonly image: string;
  /** Digests of the layers on the image, the command's own last. */
  readonly layers: readonly string[];
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

const Header = z.strictObject({
  key: z.string(),
  image: z.string(),
  // Names of files and of blobs are made of them.
  layers: z.array(z.string().check(z.regex(/^sha256:[0-9a-f]{64}$/))),
  stdout: z.int().check(z.nonnegative()),
  stderr: z.int().check(z.nonnegative()),
});

/** Without the MAC. */
export function encodeBody(key: string, { image, layers, stdout, stderr }: CachedResult): Buffer {
  const lengths = { stdout: stdout.length, stderr: stderr.length };
  const header: z.infer<typeof Header> = { key, image, layers: [...layers], ...lengths };
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), stdout, stderr]);
}

/**
 * @param body that somebody who may be believed has encoded.
 * @returns undefined for what is no result, or another key's.
 */
export function decodeBody(key: string, body: Buffer): CachedResult | undefined {
  const [line, output] = cutLine(body);
  const header = readHeader(line);
  if (header?.key !== key) return undefined;
  const { image, layers, stdout } = header;
  return { image, layers, stdout: output.subarray(0, stdout), stderr: output.subarray(stdout) };
}

export function encodeResult(key: string, result: CachedResult, macKey: KeyObject): Buffer {
  const body = encodeBody(key, result);
  return Buffer.concat([Buffer.from(`${magic} ${macOf(body, macKey).toString("base64url")}\n`), body]);
}

/** @returns undefined for what is not the result that was encoded under this key. */
export function decodeResult(key: string, bytes: Buffer, macKey: KeyObject): CachedResult | undefined {
  const [line, body] = cutLine(bytes);
  const [word, mac = ""] = line.split(" ");
  const given = Buffer.from(mac, "base64url");
  const expected = macOf(body, macKey);
  if (word !== magic || given.length !== expected.length || !timingSafeEqual(given, expected))
    return undefined;
  return decodeBody(key, body);
}

/** Which other version wrote a result that cannot be decoded, as it says itself; undefined where it says none. */
export function otherVersionOf(bytes: Buffer): "result_outdated" | "result_newer" | undefined {
  const [, written] = /^claimcheck-cache\/(\d{1,9}) /.exec(bytes.toString("latin1", 0, 64)) ?? [];
  if (written === undefined || Number(written) === version) return undefined;
  return Number(written) < version ? "result_outdated" : "result_newer";
}

/**
 * Only for reckoning what takes room: anybody who can write there may have written it.
 *
 * @param start of a result's file.
 */
export function layersIn(start: Buffer): readonly string[] {
  const [, body] = cutLine(start);
  return readHeader(cutLine(body)[0])?.layers ?? [];
}

const macOf = (body: Uint8Array, key: KeyObject) => createHmac("sha256", key).update(body).digest();

function readHeader(line: string): z.infer<typeof Header> | undefined {
  try {
    return Header.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}

function cutLine(bytes: Buffer): [line: string, rest: Buffer] {
  const at = bytes.indexOf(lineFeed);
  return at < 0 ? ["", bytes] : [bytes.toString("utf8", 0, at), bytes.subarray(at + 1)];
}
