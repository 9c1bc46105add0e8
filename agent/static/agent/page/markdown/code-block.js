// @ts-check
// The frame of a code block: its language, and a button that copies it.

import { t } from "../i18n/translate.js";
import { makeCopyButton } from "../ui/clipboard.js";
import { make } from "../ui/dom.js";
import { highlight } from "./highlighting.js";

/**
 * Frames each code block of a rendered fragment.
 *
 * @param {DocumentFragment} rendered
 */
export function frameCode(rendered) {
  for (const pre of rendered.querySelectorAll("pre")) {
    const code = pre.querySelector("code");
    if (!code) continue;
    pre.dir = "ltr";
    pre.tabIndex = 0; // so that it can be scrolled by keys
    const copy = makeCopyButton(t("copyCode"), () => code.textContent ?? "");
    const head = make("div", { class: "code-head" }, make("span", {}, languageOf(code)), copy);
    const frame = make("div", { class: "code", dir: "ltr" }, head);
    pre.replaceWith(frame);
    frame.append(pre);
  }
}

/**
 * Appends to a code block that streams in: rendering long code as a whole would be slow.
 *
 * @param {HTMLElement} element that shows the block so far
 * @param {import("../../vendor/marked.js").Token} token of the block
 * @returns {boolean} false: it is another block
 */
export function extendCode(element, { type, text = "", lang = "" }) {
  const code = type === "code" && element.querySelector(":scope > .code > pre > code");
  if (!code || languageOf(code) !== lang.split(/\s/, 1)[0]) return false;
  const shown = code.textContent ?? "";
  if (!text.startsWith(shown) || code.children.length) return false;
  code.append(text.slice(shown.length));
  return true;
}

/** Colours the code in an element whose text is complete. @param {HTMLElement} element */
export function colourCode(element) {
  for (const code of /** @type {NodeListOf<HTMLElement>} */ (
    element.querySelectorAll("pre code")
  )) {
    if (code.dataset.coloured) continue;
    code.dataset.coloured = "";
    const language = languageOf(code);
    if (language) void highlight(code, language);
  }
}

/** @param {Element} code */
function languageOf(code) {
  return code.className.replace(/^language-/, "");
}
