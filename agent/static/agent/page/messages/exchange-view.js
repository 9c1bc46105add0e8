// @ts-check
// The elements of one exchange: the question and its answer. The same object shows the query while
// it is still in the outbox, so that nothing jumps when it is accepted.

import { make } from "../ui/dom.js";
import { AnswerView } from "./answer-view.js";
import { QuestionView } from "./question-view.js";

/** @typedef {import("../../client/reading.js").Exchange} Exchange */
/** @typedef {import("../../client/outbox/outbox.js").Unsent} Unsent */
/** @typedef {import("./question-view.js").QuestionActions} QuestionActions */
/** @typedef {import("./answer-view.js").AnswerActions} AnswerActions */
/** @typedef {QuestionActions & AnswerActions} MessageActions */

export class ExchangeView {
  element = make("div", { class: "turn" });
  #agentName;
  #actions;
  /** @type {QuestionView | null} */
  #question = null;
  /** @type {AnswerView | null} */
  #answer = null;

  /** @param {string} agentName @param {MessageActions} actions */
  constructor(agentName, actions) {
    this.#agentName = agentName;
    this.#actions = actions;
  }

  /** @param {Exchange} exchange */
  show(exchange) {
    if (exchange.first.question) this.#ensureQuestion().showExchange(exchange);
    if (exchange.turn.state === "waiting") return;
    if (!this.#answer) {
      this.#answer = new AnswerView(this.#agentName, this.#actions);
      this.element.append(this.#answer.element);
    }
    this.#answer.show(exchange);
  }

  /** @param {Unsent} entry @param {import("../i18n/format.js").Delivery} delivery */
  showUnsent(entry, delivery) {
    this.#ensureQuestion().showUnsent(entry, delivery);
  }

  /** Another second has passed. */
  tick() {
    this.#answer?.tick();
  }

  /** The answer, as a screen reader announces it. */
  get spoken() {
    return this.#answer?.spoken ?? "";
  }

  #ensureQuestion() {
    if (!this.#question) {
      this.#question = new QuestionView(this.#actions);
      this.element.prepend(this.#question.element);
    }
    return this.#question;
  }
}
