// @ts-check
// The elements of one answer as it is awaited, grows and ends, or of the error that ended it.

import { endingWords, usageDetails, usageWords, waitingWords } from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { MarkdownView } from "../markdown/markdown-view.js";
import { makeCopyButton } from "../ui/clipboard.js";
import { make, makeButton, makeIconButton, setAttribute, setText } from "../ui/dom.js";
import { JudgementView } from "./feedback-view.js";
import { FootView, VersionsView } from "./footer-view.js";
import { ReasoningView } from "./reasoning-view.js";
import { SourcesView } from "./sources-view.js";

/** @typedef {import("../../client/transcript/entries.js").Turn} Turn */
/** @typedef {import("../../client/reading.js").Exchange} Exchange */

/**
 * @typedef {object} AnswerDeeds
 * @property {(exchange: Exchange) => void} retry
 * @property {() => void} goOn with the newest answer, which was cut off
 * @property {(exchange: Exchange, index: number) => void} showAnswer
 * @property {import("./feedback-view.js").Judge} judge
 */

/** @type {import("../../client/transcript/entries.js").Source[]} */
const NO_SOURCES = [];
const VERSION_WORDS = { label: "answerVersion", back: "previousAnswer", forth: "nextAnswer" };

export class AnswerView {
  element = make("article", { class: "message answer" });
  #author = make("p", { class: "author" });
  #text = make("div", { class: "markdown" });
  #markdown = new MarkdownView(this.#text);
  #reasoning = new ReasoningView();
  #sources = new SourcesView();
  #failure = new FailureView(() => this.#retry());
  #foot = new FootView();
  #usage = make("span", { class: "usage" });
  #agentName;
  #deeds;
  /** @type {Exchange | null} */
  #exchange = null;
  #versions;
  #copy;
  #again;
  #judgement;
  #goOn;

  /** @param {string} agentName @param {AnswerDeeds} deeds */
  constructor(agentName, deeds) {
    this.#agentName = agentName;
    this.#deeds = deeds;
    this.#versions = new VersionsView(VERSION_WORDS, (index) => {
      if (this.#exchange) deeds.showAnswer(this.#exchange, index);
    });
    this.#copy = makeCopyButton(t("copy"), () => textOf(this.#exchange?.turn));
    this.#again = makeIconButton("retry", t("retry"), () => this.#retry());
    this.#judgement = new JudgementView(deeds.judge);
    this.#goOn = makeButton(t("continue"), () => deeds.goOn(), "link go-on");
    this.#foot.words.after(this.#goOn, this.#usage);
    this.#foot.actions.append(
      this.#versions.element,
      this.#copy,
      this.#again,
      this.#judgement.element,
    );
    const foot = this.#foot.element;
    const below = [this.#failure.element, this.#sources.element, foot];
    this.element.append(this.#author, ...this.#reasoning.elements, this.#text, ...below);
  }

  /** The answer as it is read, for those who hear it. */
  get spoken() {
    return [this.#text, this.#failure.words, this.#foot.words]
      .map((element) => element.textContent?.trim())
      .filter(Boolean)
      .join(". ");
  }

  /** @param {Exchange} exchange one of whose turns has begun */
  show(exchange) {
    this.#exchange = exchange;
    const { turn } = exchange;
    const { answer, failure } = turn;
    const text = textOf(turn);
    if (answer ?? failure) this.#markdown.finish(text);
    else this.#markdown.grow(text);
    const author = answer?.author === "staff" ? t("staff") : this.#agentName;
    this.#author.hidden = answer?.author !== "staff";
    setText(this.#author, author);
    this.#tell(turn, author);
    this.#reasoning.show(turn, text !== "");
    const isBare = Boolean(answer) && text === "" && !this.#reasoning.isShown;
    setAttribute(this.element, "data-bare", isBare ? "" : null);
    this.#failure.show(turn);
    this.#sources.show(answer?.sources ?? NO_SOURCES);
    this.#showFoot(exchange);
  }

  /** Another second has passed. */
  tick() {
    this.#reasoning.tick();
  }

  #retry() {
    if (this.#exchange) this.#deeds.retry(this.#exchange);
  }

  /** @param {Turn} turn @param {string} author */
  #tell(turn, author) {
    const end = turn.answer ?? turn.failure;
    setAttribute(this.element, "aria-label", author);
    setAttribute(this.element, "aria-busy", end ? null : "true");
    setAttribute(this.element, "data-turn", turn.id);
    setAttribute(this.element, "data-message-id", end?.id);
    setAttribute(this.element, "data-author", turn.answer?.author);
    setAttribute(this.element, "data-state", stateOf(turn));
  }

  /** @param {Exchange} exchange */
  #showFoot({ turn, turns, answers, current }) {
    const { answer, failure } = turn;
    const end = answer ?? failure;
    this.#foot.element.hidden = !end && answers.count < 2;
    this.#versions.show(answers);
    this.#copy.hidden = !end || textOf(turn) === "";
    const isLast = turns.every(({ state }) => state === "ended");
    this.#again.hidden = !end || !current || !isLast || Boolean(failure);
    const isCutOff = answer?.finishReason === "length" && !answer.isEmpty;
    this.#goOn.hidden = !isCutOff || !current || !isLast;
    this.#judgement.show(answer?.content ? answer : null);
    if (!end) return;
    const waits = turns.find(({ state }) => state === "waiting");
    this.#foot.show(end.timestamp, waits ? waitingWords(waits.position) : endingWords(turn));
    setText(this.#usage, usageWords(end.usage));
    this.#usage.title = usageDetails(end.model, end.usage);
  }
}

/** The card of an error that ended a turn. */
class FailureView {
  element = make("div", { class: "failure" });
  words = make("p", { class: "words" });
  #facts = make("p", { class: "facts" });

  /** @param {() => void} retry */
  constructor(retry) {
    const foot = make("div", { class: "failure-foot" }, this.#facts);
    foot.append(makeButton(t("retry"), retry, "plain-button"));
    this.element.append(this.words, foot);
  }

  /** @param {Turn} turn */
  show({ id, failure }) {
    this.element.hidden = !failure;
    setAttribute(this.element, "data-code", failure?.code);
    setText(this.words, failure?.content ?? "");
    const turn = id.slice(0, 8); // enough to find it
    setText(this.#facts, failure ? t("failedTurn", { code: failure.code, turn }) : "");
  }
}

/** @param {Turn | undefined} turn */
function textOf(turn) {
  return turn?.answer?.content ?? turn?.failure?.partial ?? turn?.held.content ?? "";
}

/** @param {Turn} turn */
function stateOf({ answer, failure, held }) {
  if (failure) return "failed";
  if (answer) return "done";
  return held.content ? "streaming" : "thinking";
}
