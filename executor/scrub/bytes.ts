// Kinds of bytes.

export const isQuote = (byte: number) => byte === 0x22 || byte === 0x27;
export const isBreak = (byte: number) => byte === 0x0a || byte === 0x0d;
export const isSpace = (byte: number) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
/** Letters and digits of ASCII. */
export const isWord = (byte: number) =>
  (byte >= 0x30 && byte <= 0x39) || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a);
export const isLowerHex = (byte: number) => (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66);
export const isHex = (byte: number) => isLowerHex(byte) || (byte >= 0x41 && byte <= 0x46);
/** Between the bytes of a dump, with digits on both sides. */
export const colon = 0x3a;

/** 1 for letters of base64, base64url and hex. */
export const isLetter = Uint8Array.from({ length: 256 }, (_, byte) =>
  isWord(byte) || [0x2b, 0x2d, 0x2f, 0x5f].includes(byte) ? 1 : 0,
);
