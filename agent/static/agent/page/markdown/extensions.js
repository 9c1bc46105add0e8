// @ts-check
// What models write beside Markdown, read before Markdown's own rules could damage it: formulas,
// paths with backslashes, prices, footnotes, foldable parts.

/** @typedef {import("../../vendor/marked.js").Token} Token */
/** @typedef {import("../../vendor/marked.js").Extension} Extension */

/** Without a blank line, which no formula has. */
const LINES = String.raw`(?:(?!\n[ \t]*\n)[\s\S])+?`;
const DISPLAYED = new RegExp(
  String.raw`^ {0,3}(?:\\\[(${LINES})\\\]|\$\$(${LINES})\$\$|(\\begin\{([a-z]+\*?)\}${LINES}\\end\{\4\}))([.,;]?)[ \t]*(?:\n+|$)`,
  "i",
);
const INLINE = new RegExp(
  String.raw`^(?:\\\((${LINES})\\\)|(\\\[${LINES}\\\]|\$\$${LINES}\$\$)|\$(?![\s$])([^$\n\x60]*?[^$\s\\\x60])\$(?![\dA-Z_{($]|(?!(?:th|st|nd|rd)\b)[a-z]))`,
  "u",
);
/** Letters between `$` and `$` that are words and no formula: `$5 and 10$`. */
const PROSE_OF_PRICES = /^[\d.,]+\s+[A-Za-z]{2,}|(?:^|\s)[A-Za-z]{2,}\s+[A-Za-z]{2,}(?:\s|$)/;
/** Escaped brackets around words or a number: `\(see below\)`, `\[1\]`. */
const PROSE = /^[\s\p{L}\d.,'’-]*$/u;
const WORDS = /\p{L}{3,}\s+\p{L}{2,}/u;

/** A letter or digit before `$` begins no formula: `5$`, `US$10`. */
const PRICE = /^[\p{L}\p{N}]+\$(?!\$)/u;
const PATH =
  /^(?:(?:[A-Za-z]:|\.{1,2}|~|%\w+%|\\\\[\w.$-]+)(?:\\[^\s\\<>"|?`]*)+|[\w.-]+(?=\S*\\[A-Za-z\d])(?:\\[\w.-]+)+)/;

const FOOTNOTE = /^ {0,3}\[\^(\d{1,3})\]:[ \t]*([^\n]*(?:\n(?:[ \t]+\S[^\n]*))*)(?:\n+|$)/;
/** Only numbers: `[^a-z]` may be part of an expression. */
const FOOTNOTE_MARK = /^\[\^(\d{1,3})\](?![(:])/;
const DETAILS = /^ {0,3}<details(?: open)?>\s*(?:<summary>([\s\S]*?)<\/summary>)?/i;
const DETAILS_TAG = /<(\/?)details(?: open)?>/gi;

/** @param {RegExp} pattern @returns {(source: string) => number | undefined} */
const startOf = (pattern) => (source) => source.match(pattern)?.index;

/**
 * @param {(text: string) => string} escaped
 * @returns {Extension[]}
 */
export function extensions(escaped) {
  /** @param {Token} token */
  const formula = ({ raw, text = "", isDisplayed }) => {
    const kind = isDisplayed ? "formula displayed" : "formula";
    return `<span class="${kind}" title="${escaped(text)}">${escaped(raw.trim())}</span>`;
  };
  return [
    {
      name: "displayedFormula",
      level: "block",
      start: startOf(/^ {0,3}(?:\\\[|\$\$|\\begin\{)/m),
      tokenizer(source) {
        const found = DISPLAYED.exec(source);
        if (!found) return;
        const [raw, bracketed, dollars, environment, , end] = found;
        const text = (bracketed ?? dollars ?? environment).trim() + end;
        if (bracketed && PROSE.test(bracketed)) return;
        return { type: "displayedFormula", raw, text, isDisplayed: true };
      },
      renderer: (token) => `<p>${formula(token)}</p>`,
    },
    {
      name: "formula",
      level: "inline",
      start: startOf(/\\[([]|\$/),
      tokenizer(source) {
        const found = INLINE.exec(source);
        if (!found) return;
        const [raw, round, displayed, dollar] = found;
        if (dollar && PROSE_OF_PRICES.test(dollar)) return;
        if (round && PROSE.test(round) && WORDS.test(round)) return;
        if (displayed?.startsWith("\\")) {
          const isLink = /^[([]/.test(source.slice(raw.length));
          if (isLink || PROSE.test(displayed.slice(2, -2))) return;
        }
        const text = (round ?? dollar ?? displayed.slice(2, -2)).trim();
        return { type: "formula", raw, text, isDisplayed: displayed !== undefined };
      },
      renderer: formula,
    },
    {
      name: "asWritten",
      level: "inline",
      start: startOf(/[\p{L}\p{N}]+\$|(?:[A-Za-z]:|\.{1,2}|~|%\w+%|[\w.-]+|\\)\\[^\s]/u),
      tokenizer(source) {
        const [raw] = PATH.exec(source) ?? PRICE.exec(source) ?? [""];
        return raw ? { type: "asWritten", raw, text: raw } : undefined;
      },
      renderer: ({ raw }) => escaped(raw),
    },
    {
      name: "footnote",
      level: "block",
      start: startOf(/^ {0,3}\[\^\d+\]:/m),
      tokenizer(source) {
        const found = FOOTNOTE.exec(source);
        if (!found) return;
        const [raw, text, note] = found;
        return { type: "footnote", raw, text, tokens: this.lexer.inlineTokens(note) };
      },
      renderer(token) {
        const note = this.parser.parseInline(token.tokens ?? []);
        return `<p><sup>${escaped(token.text ?? "")}</sup> ${note}</p>`;
      },
    },
    {
      name: "footnoteMark",
      level: "inline",
      start: startOf(/\[\^\d/),
      tokenizer(source) {
        const [raw, text] = FOOTNOTE_MARK.exec(source) ?? [""];
        return raw ? { type: "footnoteMark", raw, text } : undefined;
      },
      renderer: ({ text }) => `<sup>${escaped(text ?? "")}</sup>`,
    },
    {
      name: "details",
      level: "block",
      start: startOf(/^ {0,3}<details(?: open)?>/im),
      tokenizer(source) {
        const found = DETAILS.exec(source);
        if (!found) return;
        const [head, summary = ""] = found;
        const { content, raw } = foldedPart(source, head);
        const tokens = this.lexer.blockTokens(content, []);
        return { type: "details", raw, tokens, heading: this.lexer.inlineTokens(summary.trim()) };
      },
      renderer({ heading = [], tokens = [] }) {
        const summary = heading.length
          ? `<summary>${this.parser.parseInline(heading)}</summary>`
          : "";
        return `<details>${summary}${this.parser.parse(tokens)}</details>`;
      },
    },
  ];
}

/**
 * The content of a foldable part up to its own end, and its whole source. One that is still being
 * written goes to the end of the text.
 *
 * @param {string} source
 * @param {string} head
 */
function foldedPart(source, head) {
  let depth = 0;
  for (const { 0: tag, 1: slash, index } of source.matchAll(DETAILS_TAG)) {
    depth += slash ? -1 : 1;
    if (depth > 0) continue;
    const end = index + tag.length;
    const [filler] = /^[ \t]*\n*/.exec(source.slice(end)) ?? [""];
    return { content: source.slice(head.length, index), raw: source.slice(0, end + filler.length) };
  }
  return { content: source.slice(head.length), raw: source };
}
