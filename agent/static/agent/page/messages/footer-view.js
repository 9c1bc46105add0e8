// @ts-check
// The small line under a message: its time, its state, and its buttons.

import { formatMoment, formatTime } from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { make, makeIconButton, setText } from "../ui/dom.js";

/** @typedef {import("../../client/reading.js").Version} Version */

export class FooterView {
  element = make("footer", { class: "foot" });
  state = make("span", { class: "state" });
  /** Buttons of the message. */
  actions = make("span", { class: "actions" });
  #time = make("time");

  constructor() {
    this.element.append(this.#time, this.state, this.actions);
  }

  /** @param {string} timestamp @param {string} state */
  show(timestamp, state) {
    if (this.#time.dateTime !== timestamp) {
      this.#time.dateTime = timestamp;
      this.#time.title = formatMoment(timestamp);
      setText(this.#time, formatTime(timestamp));
    }
    setText(this.state, state);
  }
}

/** Steps through the versions of a message; hidden while there is only one. */
export class VersionsView {
  element = make("span", { class: "versions", role: "group" });
  #back;
  #forth;
  #position = make("span", { class: "place" });
  #label;
  #shown = { index: -1, count: 0 };

  /**
   * @param {{label: string, back: string, forth: string}} labels names of labels
   * @param {(index: number) => void} choose
   */
  constructor({ label, back, forth }, choose) {
    this.#label = label;
    this.#back = makeIconButton("back", t(back), () => choose(this.#shown.index - 1));
    this.#forth = makeIconButton("forth", t(forth), () => choose(this.#shown.index + 1));
    this.element.append(this.#back, this.#position, this.#forth);
  }

  /** @param {Version} version */
  show({ index, count }) {
    if (index === this.#shown.index && count === this.#shown.count) return;
    this.#shown = { index, count };
    this.element.hidden = count < 2;
    this.element.setAttribute("aria-label", t(this.#label, { index: index + 1, count }));
    setText(this.#position, `${index + 1}/${count}`);
    this.#back.disabled = index === 0;
    this.#forth.disabled = index === count - 1;
  }
}
