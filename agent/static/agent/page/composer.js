// @ts-check
// The form at the bottom: typing, sending, stopping, and the draft that is kept. What is sent and
// what stopping means is decided by who made it.

import { setText } from "./dom.js";
import { lengthWords } from "./words.js";

/**
 * @typedef {object} Deeds
 * @property {(content: string) => void} send
 * @property {() => void} stop
 * @property {(content: string) => number} excess characters beyond the server's limit
 * @property {() => number | undefined} limit that limit
 */

/** From this share of the limit on, the characters that are left are shown. */
const COUNT_FROM = 0.9;

export class Composer {
  #form;
  #text;
  #send;
  #stop;
  #count;
  #deeds;
  #drafts;
  #busy = false;
  #locked = false;
  #abort = new AbortController();

  /**
   * @param {HTMLFormElement} form
   * @param {Deeds} deeds
   * @param {{load: () => string, save: (text: string) => void}} drafts
   */
  constructor(form, deeds, drafts) {
    this.#form = form;
    this.#deeds = deeds;
    this.#drafts = drafts;
    this.#text = /** @type {HTMLTextAreaElement} */ (form.elements.namedItem("content"));
    this.#send = /** @type {HTMLButtonElement} */ (form.elements.namedItem("send"));
    this.#stop = /** @type {HTMLButtonElement} */ (form.elements.namedItem("stop"));
    this.#count = /** @type {HTMLOutputElement} */ (form.elements.namedItem("count"));
    this.#text.value = drafts.load();
    this.#listen();
    this.refresh();
  }

  /** Lets go of the form, for the next conversation. */
  release() {
    this.#abort.abort();
  }

  focus() {
    this.#text.focus({ preventScroll: true });
  }

  /**
   * @param {boolean} busy there is something to stop
   * @param {boolean} locked nothing can be typed
   */
  setState(busy, locked) {
    if (busy === this.#busy && locked === this.#locked) return;
    this.#busy = busy;
    this.#locked = locked;
    this.refresh();
  }

  /**
   * Puts texts back that were not answered, before what is typed already.
   *
   * @param {string[]} texts
   */
  putBack(texts) {
    this.fill([...texts, this.#text.value].filter((text) => text.trim()).join("\n\n"));
  }

  /** @param {string} text */
  fill(text) {
    this.#text.value = text;
    this.#text.setSelectionRange(text.length, text.length);
    this.#typed();
    this.focus();
  }

  /** Shows again what depends on the text and on the state. */
  refresh() {
    const content = this.#text.value;
    const excess = this.#deeds.excess(content);
    this.#text.disabled = this.#locked;
    this.#send.disabled = this.#locked || !content.trim() || excess > 0;
    this.#stop.hidden = !this.#busy;
    this.#showCount(content, excess);
    this.#fit();
  }

  #listen() {
    const { signal } = this.#abort;
    this.#form.addEventListener("submit", (event) => this.#submit(event), { signal });
    this.#stop.addEventListener("click", () => this.#stopped(), { signal });
    this.#text.addEventListener("input", () => this.#typed(), { signal });
    this.#text.addEventListener("keydown", (event) => this.#key(event), { signal });
    window.addEventListener("resize", () => this.#fit(), { signal });
    document.addEventListener("keydown", (event) => this.#escape(event), { signal });
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    if (this.#send.disabled) return;
    const content = this.#text.value;
    this.#text.value = "";
    this.#typed();
    this.#deeds.send(content);
    this.focus();
  }

  #stopped() {
    this.#deeds.stop();
    this.focus(); // the button goes away
  }

  #typed() {
    this.#drafts.save(this.#text.value);
    this.refresh();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  /** @param {KeyboardEvent} event */
  #escape(event) {
    if (event.key !== "Escape" || isComposing(event) || !this.#busy) return;
    event.preventDefault();
    this.#stopped();
  }

  /** @param {string} content @param {number} excess */
  #showCount(content, excess) {
    const limit = this.#deeds.limit();
    const shown = limit !== undefined && content.length > limit * COUNT_FROM;
    this.#count.hidden = !shown;
    if (shown) setText(this.#count, lengthWords(limit - [...content].length, excess));
    this.#count.classList.toggle("excess", excess > 0);
    this.#text.setAttribute("aria-invalid", String(excess > 0));
  }

  /** As high as its text; the style sheet sets the bounds. */
  #fit() {
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}

/** Enter and Esc belong to the input method while it composes. @param {KeyboardEvent} event */
function isComposing(event) {
  return event.isComposing || event.keyCode === 229; // Safari: composing has just ended
}
