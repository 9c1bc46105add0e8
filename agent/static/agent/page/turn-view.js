// @ts-check
// The elements of one turn: the question, and the answer as it grows and ends. The same object
// shows the query while it is still in the outbox, so that nothing jumps when it is accepted.

import { make, makeButton, setAttribute, setText } from "./dom.js";
import { MarkdownView } from "./markdown.js";
import { endingWords, longTime, shortTime, WORDS, waitingWords } from "./words.js";

/** @typedef {import("../client/entries.js").Turn} Turn */
/** @typedef {import("../client/outbox.js").Unsent} Unsent */

/**
 * @typedef {object} Actions what the buttons on a message do
 * @property {(id: string) => void} resend a refused query, by its client id
 * @property {(id: string) => void} edit take a refused query back to the composer
 */

export class TurnView {
  element = make("div", { class: "turn" });
  #agentName;
  #actions;
  /** @type {QuestionView | null} */
  #question = null;
  /** @type {AnswerView | null} */
  #answer = null;

  /** @param {string} agentName @param {Actions} actions */
  constructor(agentName, actions) {
    this.#agentName = agentName;
    this.#actions = actions;
  }

  /** @param {Turn} turn */
  showTurn(turn) {
    if (turn.question) {
      this.#theQuestion().show({ ...turn.question, turn: turn.id }, questionState(turn));
    }
    if (turn.state !== "waiting") this.#theAnswer().show(turn);
  }

  /** @param {Unsent} entry @param {boolean} onItsWay it went out on this connection */
  showUnsent(entry, onItsWay) {
    const { id, content, timestamp, refusal } = entry;
    const question = { id: null, turn: null, content, timestamp };
    if (!refusal) {
      const words = onItsWay ? WORDS.sending : WORDS.unsent;
      this.#theQuestion().show(question, { name: onItsWay ? "sending" : "unsent", words });
      return;
    }
    const words = `${WORDS.notSent} ${refusal.content}`;
    this.#theQuestion().show(question, { name: "refused", words }, [
      makeButton(WORDS.sendAgain, () => this.#actions.resend(id), "link"),
      makeButton(WORDS.edit, () => this.#actions.edit(id), "link"),
    ]);
  }

  /** The answer as it is read, for those who hear it. */
  get spoken() {
    return this.#answer?.spoken ?? "";
  }

  #theQuestion() {
    if (!this.#question) {
      this.#question = new QuestionView();
      this.element.prepend(this.#question.element);
    }
    return this.#question;
  }

  #theAnswer() {
    if (!this.#answer) {
      this.#answer = new AnswerView(this.#agentName);
      this.element.append(this.#answer.element);
    }
    return this.#answer;
  }
}

/** @param {Turn} turn @returns {{name: string, words: string}} */
function questionState(turn) {
  if (turn.state !== "waiting") return { name: "accepted", words: "" };
  return { name: "waiting", words: waitingWords(turn.position) };
}

class QuestionView {
  element = make("article", { class: "message question", "aria-label": WORDS.you });
  #text = make("div", { class: "bubble" });
  #foot = new FootView();

  constructor() {
    this.element.append(this.#text, this.#foot.element);
  }

  /**
   * @param {{id: string | null, turn: string | null, content: string, timestamp: string}} question
   * @param {{name: string, words: string}} state
   * @param {HTMLButtonElement[]} buttons
   */
  show({ id, turn, content, timestamp }, state, buttons = []) {
    setAttribute(this.element, "data-message-id", id);
    setAttribute(this.element, "data-turn", turn);
    setAttribute(this.element, "data-state", state.name);
    setText(this.#text, content);
    this.#foot.show(timestamp, state.words, buttons);
  }
}

class AnswerView {
  element = make("article", { class: "message answer" });
  #text = make("div", { class: "markdown" });
  #markdown = new MarkdownView(this.#text);
  #thinking = make("p", { class: "thinking" }, WORDS.thinking);
  #failure = make("p", { class: "failure" });
  #foot = new FootView();
  #agentName;

  /** @param {string} agentName */
  constructor(agentName) {
    this.#agentName = agentName;
    this.element.append(this.#text, this.#thinking, this.#failure, this.#foot.element);
  }

  get spoken() {
    return [this.#text, this.#failure, this.#foot.words]
      .map((element) => element.textContent?.trim())
      .filter(Boolean)
      .join(". ");
  }

  /** @param {Turn} turn */
  show(turn) {
    const { answer, failure, held } = turn;
    const text = answer?.content ?? failure?.partial ?? held.content;
    const end = answer ?? failure;
    if (end) this.#markdown.finish(text);
    else this.#markdown.grow(text);
    const author = answer?.author === "staff" ? WORDS.staff : this.#agentName;
    setAttribute(this.element, "aria-label", author);
    setAttribute(this.element, "aria-busy", end ? null : "true");
    setAttribute(this.element, "data-turn", turn.id);
    setAttribute(this.element, "data-message-id", end?.id);
    setAttribute(this.element, "data-author", answer?.author);
    setAttribute(this.element, "data-state", answerState(turn));
    this.#thinking.hidden = Boolean(end) || text !== "";
    this.#failure.hidden = !failure;
    setText(this.#failure, failure?.content ?? "");
    setAttribute(this.#failure, "data-code", failure?.code);
    this.#foot.element.hidden = !end;
    if (end) this.#foot.show(end.timestamp, footWords(turn));
  }
}

/** @param {Turn} turn */
function footWords(turn) {
  if (turn.failure) return "";
  return endingWords(turn) || (turn.answer?.content ? "" : WORDS.emptyAnswer);
}

/** @param {Turn} turn */
function answerState({ answer, failure, held }) {
  if (failure) return "failed";
  if (answer) return "done";
  return held.content ? "streaming" : "thinking";
}

/** The small line under a message: when, and what became of it. */
class FootView {
  element = make("footer", { class: "foot" });
  words = make("span", { class: "state" });
  #time = make("time");
  #buttons = make("span", { class: "buttons" });

  constructor() {
    this.element.append(this.#time, this.words, this.#buttons);
  }

  /**
   * @param {string} timestamp
   * @param {string} words
   * @param {HTMLButtonElement[]} buttons
   */
  show(timestamp, words, buttons = []) {
    if (this.#time.dateTime !== timestamp) {
      this.#time.dateTime = timestamp;
      this.#time.title = longTime(timestamp);
      setText(this.#time, shortTime(timestamp, new Date()));
    }
    setText(this.words, words);
    this.#buttons.replaceChildren(...buttons);
  }
}
