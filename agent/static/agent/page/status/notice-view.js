// @ts-check
// The line above the composer about the conversation: an earlier version is shown, or staff joined.

import { t } from "../i18n/translate.js";
import { make, makeButton, setText } from "../ui/dom.js";

/** @typedef {import("../../client/reading.js").Item} Item */

export class NoticeView {
  #element;
  #message = make("p");
  #back;

  /** @param {HTMLElement} element @param {() => void} showLatest */
  constructor(element, showLatest) {
    this.#element = element;
    this.#back = makeButton(t("backToLatest"), showLatest);
    element.replaceChildren(this.#message, this.#back);
  }

  /** @param {Item[]} items @param {boolean} isEarlier an earlier branch is shown */
  show(items, isEarlier) {
    const message = isEarlier ? t("earlierVersion") : isTakenOver(items) ? t("staffJoined") : "";
    setText(this.#message, message);
    this.#element.hidden = !message;
    this.#back.hidden = !isEarlier;
  }
}

/** @param {Item[]} items */
function isTakenOver(items) {
  const last = items.findLast(
    (item) => item.kind === "note" && ["taken_over", "handed_back"].includes(item.event),
  );
  return last?.kind === "note" && last.event === "taken_over";
}
