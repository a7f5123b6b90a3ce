// What the scrubber should give, worked out the slow way: all text is kept, and at each step every pattern is
// looked for wherever it could have ended since. Text and patterns are byte strings (one character a byte). It shares no code with the
// scrubber.

/**
 * Start of the longest suffix of `text` that is a proper prefix of some pattern and begins at `from` or later; the
 * text's length if there is none.
 */
function prefixStart(text: string, from: number, patterns: readonly string[]): number {
  const longest = Math.max(0, ...patterns.map((pattern) => pattern.length));
  for (let start = Math.max(from, text.length - longest + 1); start < text.length; start++) {
    const suffix = text.slice(start);
    if (patterns.some((pattern) => pattern.length > suffix.length && pattern.startsWith(suffix)))
      return start;
  }
  return text.length;
}

export interface Oracle {
  push(chunk: string): string;
  flush(): string;
  end(): string;
  add(patterns: readonly string[]): void;
  /** How many bytes are held back. */
  held(): number;
}

export function createOracle(given: readonly string[]): Oracle {
  const patterns = given.filter((pattern) => pattern !== "");
  let text = "";
  /** Patterns that joined are looked for from here on: what came before was passed on and forgotten. */
  let origin = 0;
  let hidden: boolean[] = [];
  let shown = 0;

  /** Marks the occurrences that end at `from` or later. */
  function search(from: number) {
    for (const pattern of patterns) {
      const first = Math.max(0, from - pattern.length);
      for (let i = text.indexOf(pattern, first); i >= 0; i = text.indexOf(pattern, i + 1)) {
        if (i < origin) continue;
        for (let k = i; k < i + pattern.length; k++) hidden[k] = true;
      }
    }
  }

  const heldFrom = () => prefixStart(text, origin, patterns);

  function render(until: number): string {
    let out = "";
    for (; shown < until; shown++) {
      if (!hidden[shown]) out += text[shown];
      else if (shown === 0 || !hidden[shown - 1] || showedLast) out += "***";
      showedLast = !hidden[shown];
    }
    return out;
  }
  /** Whether the byte before `shown` went out, even if it turned out to be part of a secret later. */
  let showedLast = false;

  return {
    push(chunk) {
      text += chunk;
      search(text.length - chunk.length);
      return render(heldFrom());
    },
    flush() {
      return text.length - heldFrom() <= 3 ? render(text.length) : "";
    },
    end() {
      const from = heldFrom();
      if (text.length - from > 3) for (let i = from; i < text.length; i++) hidden[i] = true;
      const rest = render(text.length);
      text = "";
      origin = shown = 0;
      hidden = [];
      showedLast = false;
      return rest;
    },
    add(added) {
      origin = heldFrom();
      patterns.push(...added.filter((pattern) => pattern !== ""));
      search(origin);
    },
    held: () => text.length - heldFrom(),
  };
}
