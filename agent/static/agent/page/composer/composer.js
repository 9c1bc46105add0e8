// @ts-check
// The form at the bottom: typing, sending, stopping, editing an earlier message, and the draft that
// is kept. What is sent and what stopping means is decided by who made it.

import { lengthWords } from "../i18n/format.js";
import { find, setText } from "../ui/dom.js";
import { CompletionView } from "./completion-view.js";

/**
 * @typedef {object} ComposerDeeds
 * @property {(content: string) => boolean} send false: it was not taken, and stays
 * @property {() => void} stop
 * @property {(content: string) => number} excess characters beyond the server's limit
 * @property {() => number | undefined} limit that limit
 */

/**
 * @typedef {object} ComposerState
 * @property {boolean} busy there is something to stop
 * @property {boolean} locked nothing can be typed
 * @property {boolean} held nothing can be sent for a while
 */

/** From this share of the limit on, the characters that are left are shown. */
const COUNT_FROM = 0.9;
/** A text of this length has more lines than are shown. */
const LONG_CHARS = 10_000;

export class Composer {
  #form;
  #text;
  #send;
  #stop;
  #count;
  #deeds;
  #drafts;
  #completion;
  #editBar = find("#editing", HTMLElement);
  /** What was typed before an earlier message was edited, and who gets the edit. */
  #editing = /** @type {{before: string, send: (content: string) => void} | null} */ (null);
  /** @type {ComposerState} */
  #state = { busy: false, locked: false, held: false };
  #abort = new AbortController();

  /**
   * @param {HTMLFormElement} form
   * @param {ComposerDeeds} deeds
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
    this.#completion = new CompletionView(
      find("#commands", HTMLElement),
      this.#text,
      (text, isWhole) => this.#completed(text, isWhole),
    );
    this.#text.value = drafts.load();
    this.#listen();
    this.refresh();
  }

  /** Lets go of the form, for the next conversation. */
  release() {
    this.#editing = null;
    this.#editBar.hidden = true;
    this.#abort.abort();
  }

  focus() {
    this.#text.focus({ preventScroll: true });
  }

  /** @param {ComposerState} state */
  setState(state) {
    const { busy, locked, held } = this.#state;
    if (busy === state.busy && locked === state.locked && held === state.held) return;
    this.#state = state;
    this.refresh();
  }

  /**
   * Puts texts back that were not answered, before what is typed already.
   *
   * @param {string[]} texts
   */
  putBack(texts) {
    if (this.#editing) this.#editing.before = joined([...texts, this.#editing.before]);
    else this.#fill(joined([...texts, this.#text.value]));
  }

  /**
   * Lets an earlier message be edited here; what is typed comes back afterwards.
   *
   * @param {string} content of it
   * @param {(content: string) => void} send the edit
   */
  edit(content, send) {
    this.#editing = { before: this.#editing?.before ?? this.#text.value, send };
    this.#editBar.hidden = false;
    this.#fill(content);
  }

  /** Shows again what depends on the text and on the state. */
  refresh() {
    const content = this.#text.value;
    const excess = this.#deeds.excess(content);
    this.#text.disabled = this.#state.locked;
    this.#send.disabled = this.#state.locked || this.#state.held || !content.trim() || excess > 0;
    this.#stop.hidden = !this.#state.busy;
    this.#showCount(content, excess);
    this.#fit();
  }

  #listen() {
    const { signal } = this.#abort;
    const cancel = find("#cancel-editing", HTMLButtonElement);
    this.#form.addEventListener("submit", (event) => this.#submit(event), { signal });
    this.#stop.addEventListener("click", () => this.#stopped(), { signal });
    cancel.addEventListener("click", () => this.#endEditing(), { signal });
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
    if (this.#editing) {
      const { send } = this.#editing;
      this.#endEditing();
      send(content);
      return;
    }
    this.#fill("");
    if (!this.#deeds.send(content)) this.#fill(content);
  }

  #endEditing() {
    const before = this.#editing?.before ?? "";
    this.#editing = null;
    this.#editBar.hidden = true;
    this.#fill(before);
  }

  #stopped() {
    this.#deeds.stop();
    this.focus(); // the button goes away
  }

  /** @param {string} text */
  #fill(text) {
    this.#text.value = text;
    this.#text.setSelectionRange(text.length, text.length);
    this.#typed();
    this.focus();
  }

  #typed() {
    // both, so that a reload loses no word
    this.#drafts.save(joined([this.#editing?.before ?? "", this.#text.value]));
    this.#completion.refresh();
    this.refresh();
  }

  /** @param {string} text @param {boolean} isWhole */
  #completed(text, isWhole) {
    this.#fill(text);
    if (isWhole) this.#form.requestSubmit();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (isComposing(event) || this.#completion.key(event)) return;
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  /** @param {KeyboardEvent} event */
  #escape(event) {
    if (event.key !== "Escape" || event.defaultPrevented || isComposing(event)) return;
    if (!this.#editing && !this.#state.busy) return;
    if (document.querySelector("dialog[open]") || this.#isTypedElsewhere(event)) return;
    event.preventDefault();
    if (this.#editing) this.#endEditing();
    else this.#stopped();
  }

  /** Escape in another field is about that field. @param {KeyboardEvent} event */
  #isTypedElsewhere({ target }) {
    return target !== this.#text && target instanceof Element && target.matches("input, textarea");
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
    if (this.#text.value.length > LONG_CHARS) {
      this.#text.style.height = "100vh"; // measuring it would be felt
      return;
    }
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}

/** @param {string[]} texts */
function joined(texts) {
  return texts.filter((text) => text.trim()).join("\n\n");
}

/** Enter and Esc belong to the input method while it composes. @param {KeyboardEvent} event */
function isComposing(event) {
  return event.isComposing || event.keyCode === 229; // Safari: composing has just ended
}
