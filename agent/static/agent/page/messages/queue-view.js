// @ts-check
// The queue above the composer, as chips: the turns that wait, the next one first, then unsent
// queries.

import { canTakeBack, formatPosition, unsentState } from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { make, makeIconButton, setAttribute, setText } from "../ui/dom.js";

/** @typedef {import("../../client/reading.js").Exchange} Exchange */
/** @typedef {import("../../client/outbox/outbox.js").Unsent} Unsent */

/**
 * @typedef {object} QueueActions
 * @property {(turn: string) => void} sendNow
 * @property {(turn: string) => void} recall its text returns to the composer
 * @property {(turn: string) => void} cancel
 * @property {(id: string) => void} withdraw an unsent query, whose text returns to the composer
 * @property {(id: string) => void} discard an unsent query
 */

/** @typedef {Record<"element" | "position" | "state" | "text" | "buttons", HTMLElement>} Chip */

export class QueueView {
  #list;
  #actions;
  /** @type {Map<string, Chip>} */
  #chips = new Map();

  /** @param {HTMLElement} list @param {QueueActions} actions */
  constructor(list, actions) {
    this.#list = list;
    this.#actions = actions;
  }

  /**
   * @param {Exchange[]} waiting the next one first
   * @param {Unsent[]} unsent queries that will wait when they arrive
   * @param {import("../i18n/format.js").Delivery} delivery
   */
  show(waiting, unsent, delivery) {
    const chips = new Map();
    for (const exchange of waiting) chips.set(exchange.key, this.#waiting(exchange));
    for (const entry of unsent) chips.set(entry.id, this.#unsent(entry, delivery));
    const elements = [...chips.values()].map(({ element }) => element);
    const isSame = elements.every((element, i) => this.#list.children[i] === element);
    if (!isSame || elements.length !== this.#list.children.length) {
      this.#list.replaceChildren(...elements);
    }
    this.#list.hidden = elements.length === 0;
    this.#chips = chips;
  }

  /** @param {Exchange} exchange */
  #waiting({ key, first }) {
    const chip = this.#chips.get(key) ?? this.#makeChip();
    const label = formatPosition(first.position);
    this.#fill(
      chip,
      "waiting",
      String(first.position ?? "·"),
      first.question?.content ?? "",
      label,
    );
    if (chip.element.dataset.turn === first.id) return chip;
    chip.element.dataset.turn = first.id;
    chip.buttons.replaceChildren(
      makeIconButton("now", t("sendNow"), () => this.#actions.sendNow(first.id)),
      makeIconButton("edit", t("edit"), () => this.#actions.recall(first.id)),
      makeIconButton("cross", t("remove"), () => this.#actions.cancel(first.id)),
    );
    return chip;
  }

  /** @param {Unsent} entry @param {import("../i18n/format.js").Delivery} delivery */
  #unsent(entry, delivery) {
    const chip = this.#chips.get(entry.id) ?? this.#makeChip();
    const state = unsentState(entry, delivery);
    this.#fill(chip, state, "·", entry.content, t(state));
    if (!canTakeBack(entry, delivery)) chip.buttons.replaceChildren();
    else if (!chip.buttons.children.length) {
      chip.buttons.append(
        makeIconButton("edit", t("edit"), () => this.#actions.withdraw(entry.id)),
        makeIconButton("cross", t("remove"), () => this.#actions.discard(entry.id)),
      );
    }
    return chip;
  }

  /** @returns {Chip} */
  #makeChip() {
    const position = make("span", { class: "place", "aria-hidden": "true" });
    const state = make("span", { class: "unseen" });
    const text = make("span", { class: "words", dir: "auto" });
    const buttons = make("span", { class: "actions" });
    const element = make("li", { class: "chip" }, position, state, text, buttons);
    return { element, position, state, text, buttons };
  }

  /**
   * @param {Chip} chip
   * @param {string} state
   * @param {string} position
   * @param {string} content
   * @param {string} label
   */
  #fill(chip, state, position, content, label) {
    setAttribute(chip.element, "data-state", state);
    setAttribute(chip.position, "title", label);
    setAttribute(chip.text, "title", content);
    setText(chip.position, position);
    setText(chip.state, label);
    setText(chip.text, content);
  }
}
