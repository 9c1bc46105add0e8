// @ts-check
// A button that copies a text and shows whether that worked.

import { t } from "../i18n/translate.js";
import { makeIconButton, relabel } from "./dom.js";

const SHOWN_MS = 1_600;

/**
 * A button that copies a text.
 *
 * @param {string} label
 * @param {() => string} text
 */
export function makeCopyButton(label, text) {
  const button = makeIconButton("copy", label, async () => {
    const copied = await write(text());
    relabel(button, copied ? "done" : "cross", t(copied ? "copied" : "copyFailed"));
    setTimeout(() => relabel(button, "copy", label), SHOWN_MS);
  });
  return button;
}

/** @param {string} text @returns {Promise<boolean>} the text is in the clipboard */
async function write(text) {
  try {
    await navigator.clipboard.writeText(text); // undefined without HTTPS, except on localhost
    return true;
  } catch {
    return writeBySelection(text);
  }
}

/** The older way, which works without HTTPS too. @param {string} text */
function writeBySelection(text) {
  const field = document.createElement("textarea");
  const focused = document.activeElement;
  field.className = "unseen";
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  return copied;
}
