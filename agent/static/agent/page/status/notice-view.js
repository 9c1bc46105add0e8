// @ts-check
// The line above the composer about what is read: an earlier version, or that staff has joined.

import { t } from "../i18n/translate.js";
import { make, makeButton, setText } from "../ui/dom.js";

/** @typedef {import("../../client/reading.js").Item} Item */

export class NoticeView {
  #element;
  #words = make("p");
  #back;

  /** @param {HTMLElement} element @param {() => void} toLatest */
  constructor(element, toLatest) {
    this.#element = element;
    this.#back = makeButton(t("backToLatest"), toLatest);
    element.replaceChildren(this.#words, this.#back);
  }

  /** @param {Item[]} items @param {boolean} isBack an earlier version is read */
  show(items, isBack) {
    const words = isBack ? t("earlierVersion") : isTakenOver(items) ? t("staffJoined") : "";
    setText(this.#words, words);
    this.#element.hidden = !words;
    this.#back.hidden = !isBack;
  }
}

/** @param {Item[]} items */
function isTakenOver(items) {
  const last = items.findLast(
    (item) => item.kind === "note" && ["taken_over", "handed_back"].includes(item.event),
  );
  return last?.kind === "note" && last.event === "taken_over";
}
