// Finds where base64 was wrapped: line breaks (LF or CRLF) right after a run of exactly 64 letters (RFC 7468,
// PEM) or 76 (RFC 2045, MIME; coreutils' base64). Letters are those of base64 and base64url; the run begins at
// the stream's start or after anything else.
//
// Most text has no such run, and seeing that must cost next to nothing. A run of 64 that begins at `begin` or
// later covers `begin + 63`, so only that byte is looked at; if it is a letter, its run is followed to its end,
// which is no line break most of the time:
//
//   … s r c / m a i n . t s   w a r n i n g :   u n u s e d   i m p o r t …
//     begin ^                                       far ^ ─ ─→ ^ begin again behind it

/** What the scan of one stream has to remember. */
export interface LineState {
  /** Letters right before the next byte; `longest + 1` stands for more than that, too. */
  run: number;
  /** The last byte was the CR after a run of 64 or 76: a wrap if LF comes next. */
  cr: boolean;
}

const shorter = 64;
const longest = 76;
const LF = 0x0a;
export const CR = 0x0d;

const isLetter = new Uint8Array(256);
for (const c of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")
  isLetter[c.charCodeAt(0)] = 1;

/**
 * Start and end of each wrap that ends in `chunk`, one after the other; a start of -1 is a CR at the end of the
 * chunk before. The chunk is not empty. Each byte is looked at twice at most.
 */
export function findWraps(state: LineState, chunk: Uint8Array): number[] {
  const wraps = state.cr && chunk[0] === LF ? [-1, 1] : [];
  state.cr = false;
  const end = chunk.length;
  let far = Math.max(0, shorter - 1 - state.run);
  while (far < end) {
    let at = far;
    while (at < end && isLetter[chunk[at]!]) at++;
    if (at === end) break;
    far = at + shorter;
    const stop = chunk[at];
    if (stop !== LF && stop !== CR) continue;
    const run = lettersBefore(chunk, at, state.run);
    if (run !== shorter && run !== longest) continue;
    if (stop === LF) wraps.push(at, at + 1);
    else if (at + 1 === end) state.cr = true;
    else if (chunk[at + 1] === LF) wraps.push(at, at + 2);
  }
  state.run = lettersBefore(chunk, end, state.run);
  return wraps;
}

/** How many, up to `longest + 1`; `carried` of them stand before the chunk. */
function lettersBefore(chunk: Uint8Array, at: number, carried: number): number {
  const low = Math.max(0, at - longest - 1);
  let from = at;
  while (from > low && isLetter[chunk[from - 1]!]) from--;
  return from === 0 ? Math.min(at + carried, longest + 1) : at - from;
}
