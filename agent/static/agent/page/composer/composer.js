// @ts-check
// The form at the bottom: typing, sending, stopping, editing an earlier message, and the draft. The
// conversation decides what sending and stopping do.

import { find } from "../ui/dom.js";
import { isTouch } from "../ui/pointer.js";
import { CharacterCount } from "./character-count.js";
import { CompletionView } from "./completion-view.js";
import { EditMode } from "./edit-mode.js";

/**
 * @typedef {object} ComposerActions
 * @property {(content: string) => boolean} send false: it was refused, and the text stays
 * @property {() => void} stop
 * @property {(content: string) => number} excess characters beyond the server's limit
 * @property {() => number | undefined} limit of the server
 */

/**
 * @typedef {object} ComposerState
 * @property {boolean} busy there is something to stop
 * @property {boolean} locked nothing can be typed
 * @property {boolean} paused nothing can be sent for a while
 */

/** A text of this length has more lines than are shown. */
const LONG_CHARS = 10_000;

export class Composer {
  #form;
  #text;
  #send;
  #stop;
  #count;
  #actions;
  #drafts;
  #completion;
  #editMode;
  /** @type {ComposerState} */
  #state = { busy: false, locked: false, paused: false };
  #abort = new AbortController();

  /**
   * @param {HTMLFormElement} form
   * @param {ComposerActions} actions
   * @param {{load: () => string, save: (text: string) => void}} drafts
   */
  constructor(form, actions, drafts) {
    this.#form = form;
    this.#actions = actions;
    this.#drafts = drafts;
    this.#text = /** @type {HTMLTextAreaElement} */ (form.elements.namedItem("content"));
    this.#send = /** @type {HTMLButtonElement} */ (form.elements.namedItem("send"));
    this.#stop = /** @type {HTMLButtonElement} */ (form.elements.namedItem("stop"));
    const count = /** @type {HTMLOutputElement} */ (form.elements.namedItem("count"));
    this.#count = new CharacterCount(count, this.#text);
    this.#completion = new CompletionView(
      find("#commands", HTMLElement),
      this.#text,
      (text, isWhole) => this.#completed(text, isWhole),
    );
    this.#editMode = new EditMode(() => this.#endEditing(), this.#abort.signal);
    this.#text.value = drafts.load();
    this.#text.enterKeyHint = isTouch() ? "enter" : "send";
    this.#listen();
    this.refresh();
  }

  /** Removes its listeners, so that the next conversation can use the form. */
  dispose() {
    this.#editMode.end();
    this.#abort.abort();
  }

  /** Puts the cursor into the field, but does not open the keyboard of a touch screen. */
  focus() {
    if (!isTouch()) this.#text.focus({ preventScroll: true });
  }

  /** @param {ComposerState} state */
  setState(state) {
    const { busy, locked, paused } = this.#state;
    if (busy === state.busy && locked === state.locked && paused === state.paused) return;
    this.#state = state;
    this.refresh();
  }

  /**
   * Inserts texts that were returned or withdrawn, before the text that is typed already.
   *
   * @param {string[]} texts
   */
  insert(texts) {
    if (this.#editMode.isActive) this.#editMode.draft = joined([...texts, this.#editMode.draft]);
    else this.#fill(joined([...texts, this.#text.value]));
  }

  /**
   * Opens an earlier message for editing. The text that is typed already returns afterwards.
   *
   * @param {string} content of the message
   * @param {(content: string) => void} send gets the edited text
   */
  edit(content, send) {
    this.#editMode.begin(this.#text.value, send);
    this.#fill(content);
    this.#text.focus({ preventScroll: true }); // asked for, also on a touch screen
  }

  /** Updates everything that depends on the text and on the state. */
  refresh() {
    const content = this.#text.value;
    const excess = this.#actions.excess(content);
    const { busy, locked, paused } = this.#state;
    this.#text.disabled = locked;
    this.#send.disabled = locked || paused || !content.trim() || excess > 0;
    this.#stop.hidden = !busy;
    this.#count.show(this.#actions.limit(), excess);
    this.#fitHeight();
  }

  #listen() {
    const { signal } = this.#abort;
    this.#form.addEventListener("submit", (event) => this.#submit(event), { signal });
    this.#stop.addEventListener("click", () => this.#pressStop(), { signal });
    this.#text.addEventListener("input", () => this.#typed(), { signal });
    this.#text.addEventListener("keydown", (event) => this.#key(event), { signal });
    window.addEventListener("resize", () => this.#fitHeight(), { signal });
    document.addEventListener("keydown", (event) => this.#escape(event), { signal });
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    if (this.#send.disabled) return;
    const content = this.#text.value;
    if (this.#editMode.isActive) {
      this.#endEditing()?.send(content);
      return;
    }
    this.#fill("");
    if (!this.#actions.send(content)) this.#fill(content);
  }

  #endEditing() {
    const edit = this.#editMode.end();
    this.#fill(edit?.draft ?? "");
    return edit;
  }

  #pressStop() {
    this.#actions.stop();
    this.focus(); // the button disappears
  }

  /** @param {string} text */
  #fill(text) {
    this.#text.value = text;
    this.#text.setSelectionRange(text.length, text.length);
    this.#typed();
    this.focus();
  }

  #typed() {
    // the draft behind an edit too, so that a reload loses nothing
    this.#drafts.save(joined([this.#editMode.draft, this.#text.value]));
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
    if (isTouch() && !event.ctrlKey && !event.metaKey) return; // it breaks the line
    event.preventDefault();
    this.#form.requestSubmit();
  }

  /** @param {KeyboardEvent} event */
  #escape(event) {
    if (event.key !== "Escape" || event.defaultPrevented || isComposing(event)) return;
    if (!this.#editMode.isActive && !this.#state.busy) return;
    if (document.querySelector("dialog[open]") || this.#isInOtherField(event)) return;
    event.preventDefault();
    if (this.#editMode.isActive) this.#endEditing();
    else this.#pressStop();
  }

  /** Escape in another field is about that field. @param {KeyboardEvent} event */
  #isInOtherField({ target }) {
    return target !== this.#text && target instanceof Element && target.matches("input, textarea");
  }

  /** Makes the field as high as its text; the style sheet sets the bounds. */
  #fitHeight() {
    if (this.#text.value.length > LONG_CHARS) {
      this.#text.style.height = "100vh"; // measuring a long text would delay typing
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
