// Finds where base64 was wrapped: line breaks (LF or CRLF) right after a run of exactly 64 letters (RFC 7468,
// PEM) or 76 (RFC 2045, MIME; coreutils' base64). Letters are those of base64 and base64url; the run begins at
// the stream's start or after anything else.
//
// Most text has no such run, and seeing that must cost next to nothing. A run that begins at `begin` or later
// and is 64 long covers `begin + 63`, so that is where to look first; from the last byte before it that is no
// letter, the next look is again 63 further:
//
//   … s r c / m a i n . t s : 1 2   w a r n i n g …
//     begin ^                    ^ no letter: begin again behind it        ^ begin + 63: look back from here

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
const CR = 0x0d;

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
  let begin = -state.run;
  for (;;) {
    const far = begin + shorter - 1;
    let at = far < end ? far : end - 1;
    const low = Math.max(begin, 0);
    while (at >= low && isLetter[chunk[at]!]) at--;
    if (at >= low) {
      begin = at + 1;
      continue;
    }
    if (far >= end) break;
    // A run that is long enough. Where does it end?
    at = far < 0 ? 0 : far + 1;
    while (at < end && isLetter[chunk[at]!]) at++;
    if (at === end) break;
    const length = at - begin;
    begin = at + 1;
    if (length !== shorter && length !== longest) continue;
    if (chunk[at] === LF) wraps.push(at, at + 1);
    else if (chunk[at] === CR) {
      if (at + 1 === end) state.cr = true;
      else if (chunk[at + 1] === LF) wraps.push(at, at + 2);
    }
  }
  state.run = Math.min(end - begin, longest + 1);
  return wraps;
}
