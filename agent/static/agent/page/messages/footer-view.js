// @ts-check
// The small line under a message: when it was, what became of it, and what can be done with it.

import { longTime, shortTime } from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { make, makeIconButton, setText } from "../ui/dom.js";

/** @typedef {import("../../client/reading.js").Version} Version */

export class FootView {
  element = make("footer", { class: "foot" });
  words = make("span", { class: "state" });
  /** Buttons of the message. */
  actions = make("span", { class: "actions" });
  #time = make("time");

  constructor() {
    this.element.append(this.#time, this.words, this.actions);
  }

  /** @param {string} timestamp @param {string} words */
  show(timestamp, words) {
    if (this.#time.dateTime !== timestamp) {
      this.#time.dateTime = timestamp;
      this.#time.title = longTime(timestamp);
      setText(this.#time, shortTime(timestamp));
    }
    setText(this.words, words);
  }
}

/** Steps through the versions of a message; nothing while there is one. */
export class VersionsView {
  element = make("span", { class: "versions", role: "group" });
  #back;
  #forth;
  #place = make("span", { class: "place" });
  #label;
  #shown = { index: -1, count: 0 };

  /**
   * @param {{label: string, back: string, forth: string}} words names of words
   * @param {(index: number) => void} choose
   */
  constructor({ label, back, forth }, choose) {
    this.#label = label;
    this.#back = makeIconButton("back", t(back), () => choose(this.#shown.index - 1));
    this.#forth = makeIconButton("forth", t(forth), () => choose(this.#shown.index + 1));
    this.element.append(this.#back, this.#place, this.#forth);
  }

  /** @param {Version} version */
  show({ index, count }) {
    if (index === this.#shown.index && count === this.#shown.count) return;
    this.#shown = { index, count };
    this.element.hidden = count < 2;
    this.element.setAttribute("aria-label", t(this.#label, { index: index + 1, count }));
    setText(this.#place, `${index + 1}/${count}`);
    this.#back.disabled = index === 0;
    this.#forth.disabled = index === count - 1;
  }
}
