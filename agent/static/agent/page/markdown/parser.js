// @ts-check
// Markdown to tokens, and tokens to HTML that `sanitizer.js` has yet to clean. Shows HTML in the
// source as it is written, and turns images into links.

import { Marked } from "../../vendor/marked.js";
import { extensions } from "./extensions.js";
import { ModelTokenizer } from "./tokenizer.js";

/** @typedef {import("../../vendor/marked.js").Token} Token */

/** Harmless HTML that models write in Markdown; all other HTML is shown as it is written. */
const HARMLESS_TAG = /(<\/?(?:br|sub|sup|kbd|u|mark|b|i|s|ins|small)\s*\/?>)/i;

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: (token) => shownHtml(token.text, token.block === true),
    code: ({ text, lang }) => codeBlock(text, lang ?? ""),
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
  },
});
marked.use({ extensions: extensions(escaped) });
marked.setOptions({ tokenizer: new ModelTokenizer() });

/**
 * The tokens of a text. A text that is nested too deeply for the parser is plain text.
 *
 * @param {string} source
 * @returns {Token[] & {links?: object}}
 */
export function tokensOf(source) {
  try {
    return marked.lexer(source);
  } catch {
    return [{ type: "text", raw: source, text: source }];
  }
}

/**
 * The blocks of a text; a space or definition between blocks belongs to the block before it.
 *
 * @param {Token[]} tokens
 */
export function blocksOf(tokens) {
  /** @type {Token[]} */
  const blocks = [];
  for (const token of tokens) {
    const last = blocks.at(-1);
    const isFiller = token.type === "space" || token.type === "def";
    if (isFiller && last) blocks[blocks.length - 1] = { ...last, raw: last.raw + token.raw };
    else blocks.push(token);
  }
  return blocks;
}

/** @param {Token} token @returns {string} not safe yet */
export function htmlOf(token) {
  try {
    return marked.parser([token]);
  } catch {
    return `<p>${escaped(token.raw)}</p>`; // nested too deeply
  }
}

/** @param {string} text @param {string} info the text behind the fence: `python title=x` */
function codeBlock(text, info) {
  const language = escaped(info.split(/\s/, 1)[0]);
  return `<pre><code class="language-${language}">${escaped(text)}</code></pre>`;
}

/** @param {string} html @param {boolean} isBlock */
function shownHtml(html, isBlock) {
  const shown = html
    .trim()
    .split(HARMLESS_TAG)
    .map((part, i) => (i % 2 ? part : escaped(part)))
    .join("");
  return isBlock ? `<p>${shown.replaceAll("\n", "<br>")}</p>` : shown;
}

/** @param {string} text */
function escaped(text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
