// @ts-check
// The number of characters that may still be typed, shown when a text comes near the limit.

import { formatLength } from "../i18n/format.js";
import { setText } from "../ui/dom.js";

/** The share of the limit from which on the number is shown. */
const SHOWN_FROM = 0.9;

export class CharacterCount {
  #output;
  #text;

  /** @param {HTMLOutputElement} output @param {HTMLTextAreaElement} text */
  constructor(output, text) {
    this.#output = output;
    this.#text = text;
  }

  /** @param {number | undefined} limit @param {number} excess characters beyond the limit */
  show(limit, excess) {
    const content = this.#text.value;
    const isShown = limit !== undefined && content.length > limit * SHOWN_FROM;
    this.#output.hidden = !isShown;
    if (isShown) setText(this.#output, formatLength(limit - [...content].length, excess));
    this.#output.classList.toggle("excess", excess > 0);
    this.#text.setAttribute("aria-invalid", String(excess > 0));
  }
}
