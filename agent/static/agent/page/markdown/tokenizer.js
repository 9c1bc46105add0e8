// @ts-check
// Markdown's own rules where they fit what models write: emphasis and links in texts without blanks
// between words, and backslashes that escape nothing.

import { Tokenizer } from "../../vendor/marked.js";

/** @typedef {import("../../vendor/marked.js").Token} Token */

/** Characters that a backslash makes plain: those with which something in Markdown begins. */
const ESCAPED = /^\\[*_`#[\]()<>~|$!+.&-]/;
const FULL_WIDTH = /[\u3000-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65“”‘’…—]/;
const LAST = /[\s\S]$/u;
const BLANK = /^\s?$/u;
const PUNCTUATION = /^[\p{P}\p{S}]$/u;
const OPENING = /^[\p{Ps}\p{Pi}"'¿¡]$/u;
const CLOSING = /^[\p{Pe}\p{Pf}"'.,:;!?%…、。，：；！？·～]$/u;

export class ModelTokenizer extends Tokenizer {
  /** @override @param {string} source @returns {Token | false | undefined} */
  escape(source) {
    if (source.startsWith("\\\\")) return written("\\\\");
    if (ESCAPED.test(source)) return super.escape(source);
    return source.startsWith("\\") && source.length > 1 ? written("\\") : undefined;
  }

  /** A bare address ends before punctuation of full width. @override @param {string} source */
  url(source) {
    const end = source.search(FULL_WIDTH);
    return super.url(end > 0 ? source.slice(0, end) : source);
  }

  /**
   * @override
   * @param {string} source
   * @param {string} masked the whole text, where code and links are masked
   * @param {string} [before] the character before
   * @returns {Token | false | undefined}
   */
  emStrong(source, masked, before = "") {
    const [run = ""] = /^\*{1,2}(?!\*)/.exec(source) ?? [];
    const length = run && endOfEmphasis(masked.slice(-source.length), run, before);
    if (!length) return super.emStrong(source, masked, before);
    const text = source.slice(run.length, length - run.length);
    const type = run.length === 1 ? "em" : "strong";
    const tokens = this.lexer.inlineTokens(text);
    return { type, raw: source.slice(0, length), text, tokens };
  }

  /**
   * @override
   * @param {string} source
   * @param {string} masked
   * @param {string} [before]
   * @returns {Token | false | undefined}
   */
  del(source, masked, before = "") {
    const isDouble = /^~~(?!~)/.test(source);
    const length = isDouble && endOfEmphasis(masked.slice(-source.length), "~~", before);
    if (!length) return super.del(source, masked, before);
    const text = source.slice(2, length - 2);
    const tokens = this.lexer.inlineTokens(text);
    return { type: "del", raw: source.slice(0, length), text, tokens };
  }
}

/** @param {string} raw @returns {Token} */
function written(raw) {
  return { type: "text", raw, text: raw, escaped: false };
}

/**
 * Where the emphasis ends that a run of asterisks or tildes begins. Beside the rule of CommonMark, a run
 * opens before an opening mark and closes behind a closing one, whatever is on its other side.
 *
 * @param {string} text from the run on
 * @param {string} run
 * @param {string} before the character before it
 * @returns {number} 0: it begins none, or the rule of CommonMark is enough
 */
function endOfEmphasis(text, run, before) {
  const [next] = text.slice(run.length);
  if (!next || BLANK.test(next)) return 0;
  const isFree = BLANK.test(before) || PUNCTUATION.test(before);
  if (PUNCTUATION.test(next) && !isFree && !OPENING.test(next)) return 0;
  for (const { 0: end, index } of text
    .slice(run.length)
    .matchAll(run[0] === "*" ? /\*+/g : /~+/g)) {
    const at = run.length + index;
    if (end.length !== run.length) {
      if (end.length > 2) return 0;
      continue;
    }
    const [last] = LAST.exec(text.slice(0, at)) ?? [""];
    const [after = ""] = text.slice(at + end.length);
    if (BLANK.test(last)) continue;
    const closes =
      !PUNCTUATION.test(last) || BLANK.test(after) || PUNCTUATION.test(after) || CLOSING.test(last);
    if (closes && index > 0) return at + end.length;
  }
  return 0;
}
