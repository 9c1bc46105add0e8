// @ts-check
// A growing Markdown text in one element, block by block. This folder is the only place where text
// of a model becomes elements.
//
// An answer that streams is rendered again and again, so blocks that cannot change any more are
// kept: only the last blocks are parsed, and only blocks whose source changed are rendered. The
// complete text is parsed once more as a whole, for references between distant blocks.

import { colourCode, extendCode, frameCode } from "./code-block.js";
import { typesetFormulas } from "./formulas.js";
import { blocksOf, htmlOf, tokensOf } from "./parser.js";
import { patchChildren } from "./patch.js";
import { sanitized } from "./sanitizer.js";

/** @typedef {import("./parser.js").Token} Token */
/** @typedef {{source: string, element: HTMLElement, token: Token}} Block */

/** The last blocks of a growing text, which the next characters may still change. */
const UNSETTLED_BLOCKS = 2;

export class MarkdownView {
  #element;
  /** @type {Block[]} */
  #blocks = [];
  /** Number of the blocks that cannot change any more, and their source. */
  #settledCount = 0;
  #settledSource = "";
  /** The complete text that is shown. @type {string | null} */
  #finished = null;
  /** @type {Element | null} */
  #caret = null;

  /** @param {HTMLElement} element whose content belongs to this view */
  constructor(element) {
    this.#element = element;
  }

  /** Shows a text that may still grow. @param {string} source */
  grow(source) {
    this.#finished = null;
    source = source.replaceAll("\r\n", "\n"); // as the parser does
    if (!source.startsWith(this.#settledSource)) this.#unsettle();
    const tokens = blocksOf(tokensOf(source.slice(this.#settledSource.length)));
    this.#show(this.#settledCount, tokens);
    for (const token of tokens.slice(0, -UNSETTLED_BLOCKS)) {
      colourCode(this.#blocks[this.#settledCount].element);
      this.#settledSource += token.raw;
      this.#settledCount += 1;
    }
    this.#moveCaret(lastElement(this.#blocks.at(-1)?.element));
  }

  /** Shows a complete text. @param {string} source */
  finish(source) {
    if (source === this.#finished) return;
    this.#finished = source;
    const tokens = tokensOf(source);
    // a definition far below may have turned plain text into links
    if (Object.keys(tokens.links ?? {}).length) this.#truncate(0);
    this.#moveCaret(null);
    this.#unsettle();
    this.#show(0, blocksOf(tokens));
    colourCode(this.#element);
  }

  /** @param {Element | null} element behind whose text the caret stands */
  #moveCaret(element) {
    if (element === this.#caret && element?.hasAttribute("data-caret")) return;
    this.#caret?.removeAttribute("data-caret");
    this.#caret = element;
    element?.setAttribute("data-caret", "");
  }

  #unsettle() {
    this.#settledCount = 0;
    this.#settledSource = "";
  }

  /**
   * Replaces the blocks from `start` on by those of `tokens`. Equal blocks keep their elements.
   *
   * @param {number} start
   * @param {Token[]} tokens
   */
  #show(start, tokens) {
    tokens.forEach((token, i) => {
      const known = this.#blocks[start + i];
      if (known?.source === token.raw) return;
      const element = known?.element ?? this.#append();
      const grew = known && (extendCode(element, token) || extendList(element, known.token, token));
      if (!grew) patchChildren(element, rendered(token));
      this.#blocks[start + i] = { source: token.raw, element, token };
    });
    this.#truncate(start + tokens.length);
  }

  #append() {
    const element = document.createElement("div");
    element.className = "block";
    this.#element.append(element);
    return element;
  }

  /** @param {number} length */
  #truncate(length) {
    for (const { element } of this.#blocks.splice(length)) element.remove();
  }
}

/** @param {Token} token */
function rendered(token) {
  const fragment = sanitized(htmlOf(token));
  for (const block of fragment.children) block.setAttribute("dir", "auto");
  typesetFormulas(fragment);
  frameCode(fragment);
  return fragment;
}

/** The element with the last text of a block. @param {Element | undefined} block */
function lastElement(block) {
  /** @type {Node | null | undefined} */
  let node = block;
  while (node?.lastChild) {
    node = node.lastChild;
    while (node instanceof Text && !node.data.trim() && node.previousSibling) {
      node = node.previousSibling;
    }
  }
  const element = node instanceof Element ? node : (node?.parentElement ?? null);
  return element?.closest(".formula") ?? element;
}

/**
 * Renders only the changed items of a list: rendering a long list as a whole would be slow.
 *
 * @param {HTMLElement} element that shows the list so far
 * @param {Token} before the list so far
 * @param {Token} token the list now
 * @returns {boolean} false: it is another kind of block
 */
function extendList(element, before, token) {
  const list = element.firstElementChild;
  const { items = [] } = token;
  const known = before.items ?? [];
  const isSameKind = before.ordered === token.ordered && before.loose === token.loose;
  if (!list || !items.length || !isSameKind || list.children.length !== known.length) return false;
  if (known.length > items.length) return false;
  items.forEach((item, i) => {
    if (known[i]?.raw === item.raw) return;
    const made = rendered({ ...token, items: [item] }).querySelector("li");
    if (!made) return;
    if (i < known.length) patchChildren(list.children[i], made);
    else list.append(made);
  });
  return true;
}
