// @ts-check
// Markdown to safe DOM, block by block. The only place where text of a model becomes elements.
//
// An answer that streams is rendered again and again, so blocks that cannot change any more are
// kept: only the last ones are parsed, and only those whose source changed are rendered. The
// complete text is parsed once more as a whole, for references between distant blocks.
//
// Nothing here may cause a request to another host: images become links, and the allow-list holds
// no element that loads anything.

import { Marked } from "../../vendor/marked.js";
import DOMPurify from "../../vendor/purify.js";
import { colourCode, extendCode, frameCode } from "./code-block.js";

const ALLOWED = {
  ALLOWED_TAGS: (
    "p br hr strong em del code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 " +
    "table thead tbody tr th td a sub sup kbd"
  ).split(" "),
  ALLOWED_ATTR: ["href", "title", "start", "align", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ADD_URI_SAFE_ATTR: ["start", "align"], // the expression above is for addresses only
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: /** @type {true} */ (true),
};
/** HTML that models write in Markdown and that is harmless; all other is shown as it is written. */
const HARMLESS_TAG = /^<\/?(?:br|sub|sup|kbd)\s*\/?>$/i;
const LANGUAGE_CLASS = /^language-[\w+#.-]{1,40}$/;
/** The last blocks of a growing text, which the next characters may still change. */
const UNSETTLED_BLOCKS = 2;

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

const purify = DOMPurify(window);
purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName === "A") secureLink(/** @type {HTMLAnchorElement} */ (node));
  if (!LANGUAGE_CLASS.test(node.getAttribute("class") ?? "")) node.removeAttribute("class");
});

/** @typedef {import("../../vendor/marked.js").Token} Token */
/** @typedef {{source: string, element: HTMLElement, token: Token}} Block */

/** One growing text in one element. */
export class MarkdownView {
  #element;
  /** @type {Block[]} */
  #blocks = [];
  /** How many of the blocks cannot change any more, and their source. */
  #settledCount = 0;
  #settledSource = "";
  /** The complete text that is shown. @type {string | null} */
  #finished = null;

  /** @param {HTMLElement} element whose content this owns */
  constructor(element) {
    this.#element = element;
  }

  /** Shows a text that may still grow. @param {string} source */
  grow(source) {
    this.#finished = null;
    source = source.replaceAll("\r\n", "\n"); // as the parser does
    if (!source.startsWith(this.#settledSource)) this.#forgetSettled();
    const tokens = blocksOf(parsed(source.slice(this.#settledSource.length)));
    this.#show(this.#settledCount, tokens);
    for (const token of tokens.slice(0, -UNSETTLED_BLOCKS)) {
      colourCode(this.#blocks[this.#settledCount].element);
      this.#settledSource += token.raw;
      this.#settledCount += 1;
    }
  }

  /** Shows a complete text. @param {string} source */
  finish(source) {
    if (source === this.#finished) return;
    this.#finished = source;
    const tokens = parsed(source);
    // a definition far below may have turned plain text into links
    if (Object.keys(tokens.links ?? {}).length) this.#truncate(0);
    this.#forgetSettled();
    this.#show(0, blocksOf(tokens));
    colourCode(this.#element);
  }

  #forgetSettled() {
    this.#settledCount = 0;
    this.#settledSource = "";
  }

  /**
   * Makes the blocks from `start` on those of `tokens`, and leaves alone what is equal.
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
      if (!grew) element.replaceChildren(rendered(token));
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

/**
 * The tokens of a text; one that is nested too deep for the parser is plain text.
 *
 * @param {string} source
 * @returns {Token[] & {links?: object}}
 */
function parsed(source) {
  try {
    return marked.lexer(source);
  } catch {
    return [{ type: "text", raw: source, text: source }];
  }
}

/**
 * The blocks of a text; what is between them belongs to the one before.
 *
 * @param {Token[]} tokens
 */
function blocksOf(tokens) {
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

/**
 * Makes only those items of a list anew that changed: a long list would be slow as a whole.
 *
 * @param {HTMLElement} element that shows the list so far
 * @param {Token} before the list so far
 * @param {Token} token the list now
 * @returns {boolean} false: it is something else
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
    if (i < known.length) list.children[i].replaceWith(made);
    else list.append(made);
  });
  return true;
}

/** @param {Token} token @returns {DocumentFragment} */
function rendered(token) {
  const fragment = purify.sanitize(htmlOf(token), ALLOWED);
  frameCode(fragment);
  return fragment;
}

/** @param {Token} token */
function htmlOf(token) {
  try {
    return marked.parser([token]);
  } catch {
    return `<p>${escaped(token.raw)}</p>`; // nested too deep
  }
}

/** @param {string} text @param {string} info what stands behind the fence: `python title=x` */
function codeBlock(text, info) {
  const language = escaped(info.split(/\s/, 1)[0]);
  return `<pre><code class="language-${language}">${escaped(text)}</code></pre>`;
}

/** @param {string} html @param {boolean} isBlock */
function shownHtml(html, isBlock) {
  if (HARMLESS_TAG.test(html.trim())) return html;
  return isBlock ? `<p>${escaped(html.trim()).replaceAll("\n", "<br>")}</p>` : escaped(html);
}

/** @param {HTMLAnchorElement} link */
function secureLink(link) {
  if (!link.hasAttribute("href")) return; // it was not an address of the web
  link.setAttribute("target", "_blank");
  link.setAttribute("rel", "noopener noreferrer");
}

/** @param {string} text */
function escaped(text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
