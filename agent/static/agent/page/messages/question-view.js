// @ts-check
// The elements of one question, from the moment of sending it.

import { canTakeBack, unsentState } from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { makeCopyButton } from "../ui/clipboard.js";
import { make, makeButton, makeIconButton, setAttribute, setText } from "../ui/dom.js";
import { FooterView, VersionsView } from "./footer-view.js";

/** @typedef {import("../../client/reading.js").Exchange} Exchange */
/** @typedef {import("../../client/outbox/outbox.js").Unsent} Unsent */

/**
 * @typedef {object} QuestionActions
 * @property {(id: string) => void} resend a refused query, by its client id
 * @property {(id: string) => void} withdraw a refused or unsent query, whose text returns to the composer
 * @property {(id: string) => void} discard an unsent query
 * @property {(exchange: Exchange) => void} edit the question of an exchange
 * @property {(exchange: Exchange, index: number) => void} showEdit
 */

const VERSION_LABELS = {
  label: "questionVersion",
  back: "previousVersion",
  forth: "nextVersion",
};

export class QuestionView {
  element = make("article", { class: "message question", "aria-label": t("you") });
  #text = make("div", { class: "bubble", dir: "auto" });
  #foot = new FooterView();
  #actions;
  /** @type {Exchange | null} */
  #exchange = null;
  #versions;
  #edit;
  #copy;
  #refusal = make("span", { class: "refusal" });

  /** @param {QuestionActions} actions */
  constructor(actions) {
    this.#actions = actions;
    const withExchange = (/** @type {(exchange: Exchange) => void} */ action) => {
      if (this.#exchange) action(this.#exchange);
    };
    this.#versions = new VersionsView(VERSION_LABELS, (index) =>
      withExchange((exchange) => actions.showEdit(exchange, index)),
    );
    this.#edit = makeIconButton("edit", t("edit"), () => withExchange(actions.edit));
    this.#copy = makeCopyButton(t("copy"), () => this.#text.textContent ?? "");
    this.#foot.actions.append(this.#versions.element, this.#copy, this.#edit, this.#refusal);
    this.element.append(this.#text, this.#foot.element);
  }

  /** @param {Exchange} exchange whose question is known */
  showExchange(exchange) {
    const { first, current, edits } = exchange;
    const { id = null, content = "", timestamp = "" } = first.question ?? {};
    this.#exchange = exchange;
    this.#show({ id, turn: first.id, content, timestamp }, "accepted", "");
    this.#versions.show(edits);
    this.#edit.hidden = !id || !current;
  }

  /** @param {Unsent} entry @param {import("../i18n/format.js").Delivery} delivery */
  showUnsent(entry, delivery) {
    const { id, content, timestamp, refusal } = entry;
    const question = { id: null, turn: null, content, timestamp };
    this.#versions.show({ index: 0, count: 1 });
    this.#edit.hidden = true;
    if (!refusal) {
      const state = unsentState(entry, delivery);
      this.#show(question, state, t(state));
      if (!canTakeBack(entry, delivery)) this.#refusal.replaceChildren();
      else if (!this.#refusal.children.length) {
        this.#refusal.append(
          makeButton(t("edit"), () => this.#actions.withdraw(id), "link"),
          makeButton(t("remove"), () => this.#actions.discard(id), "link"),
        );
      }
      return;
    }
    this.#show(question, "refused", t("notSent", { reason: refusal.content }));
    this.#refusal.replaceChildren(
      makeButton(t("sendAgain"), () => this.#actions.resend(id), "link"),
      makeButton(t("edit"), () => this.#actions.withdraw(id), "link"),
    );
  }

  /**
   * @param {{id: string | null, turn: string | null, content: string, timestamp: string}} question
   * @param {string} state
   * @param {string} label
   */
  #show({ id, turn, content, timestamp }, state, label) {
    setAttribute(this.element, "data-message-id", id);
    setAttribute(this.element, "data-turn", turn);
    setAttribute(this.element, "data-state", state);
    setText(this.#text, content);
    this.#foot.show(timestamp, label);
    if (state === "accepted") this.#refusal.replaceChildren();
  }
}
