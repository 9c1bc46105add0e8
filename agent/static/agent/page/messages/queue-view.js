// @ts-check
// What waits for its turn, as chips above the composer: the next one first, then what is not sent.

import { unsentState, waitingWords } from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { make, makeIconButton, setAttribute, setText } from "../ui/dom.js";

/** @typedef {import("../../client/reading.js").Exchange} Exchange */
/** @typedef {import("../../client/outbox/outbox.js").Unsent} Unsent */

/**
 * @typedef {object} QueueDeeds
 * @property {(turn: string) => void} sendNow
 * @property {(turn: string) => void} reclaim to the composer
 * @property {(turn: string) => void} remove
 */

/** @typedef {Record<"element" | "place" | "state" | "text" | "buttons", HTMLElement>} Chip */

export class QueueView {
  #list;
  #deeds;
  /** @type {Map<string, Chip>} */
  #chips = new Map();

  /** @param {HTMLElement} list @param {QueueDeeds} deeds */
  constructor(list, deeds) {
    this.#list = list;
    this.#deeds = deeds;
  }

  /**
   * @param {Exchange[]} waiting the next one first
   * @param {Unsent[]} unsent what will wait when it is there
   * @param {Set<string>} sent ids of those that went out on this connection
   */
  show(waiting, unsent, sent) {
    const chips = new Map();
    for (const exchange of waiting) chips.set(exchange.key, this.#waiting(exchange));
    for (const entry of unsent) chips.set(entry.id, this.#unsent(entry, sent.has(entry.id)));
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
    const chip = this.#chips.get(key) ?? this.#make();
    const words = waitingWords(first.position);
    this.#fill(
      chip,
      "waiting",
      String(first.position ?? "·"),
      first.question?.content ?? "",
      words,
    );
    if (chip.element.dataset.turn === first.id) return chip;
    chip.element.dataset.turn = first.id;
    chip.buttons.replaceChildren(
      makeIconButton("now", t("sendNow"), () => this.#deeds.sendNow(first.id)),
      makeIconButton("edit", t("edit"), () => this.#deeds.reclaim(first.id)),
      makeIconButton("remove", t("remove"), () => this.#deeds.remove(first.id)),
    );
    return chip;
  }

  /** @param {Unsent} entry @param {boolean} sent */
  #unsent(entry, sent) {
    const chip = this.#chips.get(entry.id) ?? this.#make();
    const state = unsentState(entry, sent);
    this.#fill(chip, state, "·", entry.content, t(state));
    return chip;
  }

  /** @returns {Chip} */
  #make() {
    const place = make("span", { class: "place", "aria-hidden": "true" });
    const state = make("span", { class: "unseen" });
    const text = make("span", { class: "words" });
    const buttons = make("span", { class: "actions" });
    const element = make("li", { class: "chip" }, place, state, text, buttons);
    return { element, place, state, text, buttons };
  }

  /**
   * @param {Chip} chip
   * @param {string} state
   * @param {string} place
   * @param {string} content
   * @param {string} words
   */
  #fill(chip, state, place, content, words) {
    setAttribute(chip.element, "data-state", state);
    setAttribute(chip.place, "title", words);
    setAttribute(chip.text, "title", content);
    setText(chip.place, place);
    setText(chip.state, words);
    setText(chip.text, content);
  }
}
