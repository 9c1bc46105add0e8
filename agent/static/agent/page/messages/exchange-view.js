// @ts-check
// The elements of one exchange: the question and its answer. The same object shows the query while
// it is still in the outbox, so that nothing jumps when it is accepted.

import { make } from "../ui/dom.js";
import { AnswerView } from "./answer-view.js";
import { QuestionView } from "./question-view.js";

/** @typedef {import("../../client/reading.js").Exchange} Exchange */
/** @typedef {import("../../client/outbox/outbox.js").Unsent} Unsent */
/** @typedef {import("./question-view.js").QuestionDeeds} QuestionDeeds */
/** @typedef {import("./answer-view.js").AnswerDeeds} AnswerDeeds */
/** @typedef {QuestionDeeds & AnswerDeeds} Deeds what the buttons on messages do */

export class ExchangeView {
  element = make("div", { class: "turn" });
  #agentName;
  #deeds;
  /** @type {QuestionView | null} */
  #question = null;
  /** @type {AnswerView | null} */
  #answer = null;

  /** @param {string} agentName @param {Deeds} deeds */
  constructor(agentName, deeds) {
    this.#agentName = agentName;
    this.#deeds = deeds;
  }

  /** @param {Exchange} exchange */
  show(exchange) {
    if (exchange.first.question) this.#theQuestion().showExchange(exchange);
    if (exchange.turn.state === "waiting") return;
    if (!this.#answer) {
      this.#answer = new AnswerView(this.#agentName, this.#deeds);
      this.element.append(this.#answer.element);
    }
    this.#answer.show(exchange);
    this.element.classList.toggle("past", !exchange.current);
  }

  /** @param {Unsent} entry @param {boolean} onItsWay it went out on this connection */
  showUnsent(entry, onItsWay) {
    this.#theQuestion().showUnsent(entry, onItsWay);
  }

  /** Another second has passed. */
  tick() {
    this.#answer?.tick();
  }

  /** The answer as it is read, for those who hear it. */
  get spoken() {
    return this.#answer?.spoken ?? "";
  }

  #theQuestion() {
    if (!this.#question) {
      this.#question = new QuestionView(this.#deeds);
      this.element.prepend(this.#question.element);
    }
    return this.#question;
  }
}
