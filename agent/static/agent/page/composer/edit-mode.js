// @ts-check
// Editing an earlier message in the composer: the bar that says so, and the draft that returns
// afterwards.

import { find } from "../ui/dom.js";

/** @typedef {{draft: string, send: (content: string) => void}} Edit */

export class EditMode {
  #bar = find("#editing", HTMLElement);
  /** @type {Edit | null} */
  #edit = null;

  /** @param {() => void} onCancel @param {AbortSignal} signal */
  constructor(onCancel, signal) {
    const cancel = find("#cancel-editing", HTMLButtonElement);
    cancel.addEventListener("click", onCancel, { signal });
  }

  get isActive() {
    return this.#edit !== null;
  }

  /** The text that was typed before; empty while nothing is edited. */
  get draft() {
    return this.#edit?.draft ?? "";
  }

  /** @param {string} text */
  set draft(text) {
    if (this.#edit) this.#edit.draft = text;
  }

  /** @param {string} typed until now @param {Edit["send"]} send gets the edited text */
  begin(typed, send) {
    this.#edit = { draft: this.#edit?.draft ?? typed, send };
    this.#bar.hidden = false;
  }

  /** @returns {Edit | null} the edit that has ended */
  end() {
    const edit = this.#edit;
    this.#edit = null;
    this.#bar.hidden = true;
    return edit;
  }
}
