// @ts-check
// The elements of one answer while it is awaited, grows and ends, or of the error that ended it.

import {
  formatEnding,
  formatPosition,
  formatUsage,
  formatUsageDetails,
  secondsUntil,
} from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { MarkdownView } from "../markdown/markdown-view.js";
import { makeCopyButton } from "../ui/clipboard.js";
import { make, makeButton, makeIconButton, setAttribute, setText } from "../ui/dom.js";
import { FeedbackView } from "./feedback-view.js";
import { FooterView, VersionsView } from "./footer-view.js";
import { ReasoningView } from "./reasoning-view.js";
import { SourcesView } from "./sources-view.js";

/** @typedef {import("../../client/transcript/entries.js").Turn} Turn */
/** @typedef {import("../../client/reading.js").Exchange} Exchange */

/**
 * @typedef {object} AnswerActions
 * @property {(exchange: Exchange) => void} retry
 * @property {() => void} clear makes the agent forget the conversation so far
 * @property {() => void} newChat
 * @property {() => void} continueAnswer the newest one, which was cut off
 * @property {(exchange: Exchange, index: number) => void} showAnswer
 * @property {import("./feedback-view.js").SendFeedback} sendFeedback
 */

/** @type {import("../../client/transcript/entries.js").Source[]} */
const NO_SOURCES = [];
const VERSION_LABELS = { label: "answerVersion", back: "previousAnswer", forth: "nextAnswer" };

export class AnswerView {
  element = make("article", { class: "message answer" });
  #author = make("p", { class: "author" });
  #text = make("div", { class: "markdown" });
  #markdown = new MarkdownView(this.#text);
  #reasoning = new ReasoningView();
  #sources = new SourcesView();
  #failure;
  #foot = new FooterView();
  #usage = make("span", { class: "usage" });
  #agentName;
  #actions;
  /** @type {Exchange | null} */
  #exchange = null;
  #versions;
  #copy;
  #retryButton;
  #feedback;
  #continue;

  /** @param {string} agentName @param {AnswerActions} actions */
  constructor(agentName, actions) {
    this.#agentName = agentName;
    this.#actions = actions;
    this.#failure = new FailureView(() => this.#retry(), actions);
    this.#versions = new VersionsView(VERSION_LABELS, (index) => {
      if (this.#exchange) actions.showAnswer(this.#exchange, index);
    });
    this.#copy = makeCopyButton(t("copy"), () => textOf(this.#exchange?.turn));
    this.#retryButton = makeIconButton("retry", t("retry"), () => this.#retry());
    this.#feedback = new FeedbackView(actions.sendFeedback);
    this.#continue = makeButton(t("continue"), () => actions.continueAnswer(), "link go-on");
    this.#foot.state.after(this.#continue, this.#usage);
    this.#foot.actions.append(
      this.#versions.element,
      this.#copy,
      this.#retryButton,
      this.#feedback.element,
    );
    const foot = this.#foot.element;
    const below = [this.#failure.element, this.#sources.element, foot];
    this.element.append(this.#author, ...this.#reasoning.elements, this.#text, ...below);
  }

  /** The answer, as a screen reader announces it. */
  get spoken() {
    return [this.#text, this.#failure.message, this.#foot.state]
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
    this.#showState(turn, author);
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
    this.#failure.tick();
  }

  #retry() {
    if (this.#exchange) this.#actions.retry(this.#exchange);
  }

  /** @param {Turn} turn @param {string} author */
  #showState(turn, author) {
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
    this.#retryButton.hidden = !end || !current || !isLast || Boolean(failure);
    const isCutOff = answer?.finishReason === "length" && !answer.isEmpty;
    this.#continue.hidden = !isCutOff || !current || !isLast;
    this.#feedback.show(answer?.content ? answer : null);
    if (!end) return;
    const waits = turns.find(({ state }) => state === "waiting");
    this.#foot.show(end.timestamp, waits ? formatPosition(waits.position) : formatEnding(turn));
    setText(this.#usage, formatUsage(end.usage));
    this.#usage.title = formatUsageDetails(end.model, end.usage);
  }
}

/** The card of the error that ended a turn, with buttons for what helps against it. */
class FailureView {
  element = make("div", { class: "failure" });
  message = make("p", { class: "words", dir: "auto" });
  #facts = make("p", { class: "facts" });
  #retry;
  #ways;
  /** @type {import("../../client/transcript/entries.js").Failure | null} */
  #failure = null;

  /** @param {() => void} retry @param {Pick<AnswerActions, "clear" | "newChat">} actions */
  constructor(retry, { clear, newChat }) {
    this.#retry = makeButton(t("retry"), retry, "plain-button");
    this.#ways = [
      makeButton(t("clearContext"), clear, "plain-button"),
      makeButton(t("newChat"), newChat, "plain-button"),
    ];
    const buttons = make("div", { class: "buttons" }, this.#retry, ...this.#ways);
    this.element.append(this.message, make("div", { class: "failure-foot" }, this.#facts, buttons));
  }

  /** @param {Turn} turn */
  show({ id, failure }) {
    this.#failure = failure;
    this.element.hidden = !failure;
    setAttribute(this.element, "data-code", failure?.code);
    setText(this.message, failure?.content ?? "");
    const turn = id.slice(0, 8); // enough to find it
    setText(this.#facts, failure ? t("failedTurn", { code: failure.code, turn }) : "");
    const isTooLong = failure?.code === "context_too_long"; // and would be so again
    this.#retry.hidden = isTooLong;
    for (const way of this.#ways) way.hidden = !isTooLong;
    this.tick();
  }

  /** Counts down to the time at which a retry makes sense. */
  tick() {
    const { retryAfter = null, timestamp = "" } = this.#failure ?? {};
    const until = retryAfter === null ? null : Date.parse(timestamp) + retryAfter * 1000;
    const seconds = secondsUntil(until, Date.now());
    this.#retry.disabled = seconds > 0;
    setText(this.#retry, seconds ? t("retryIn", { seconds }) : t("retry"));
  }
}

/** @param {Turn | undefined} turn */
function textOf(turn) {
  return turn?.answer?.content ?? turn?.failure?.partial ?? turn?.streamed.content ?? "";
}

/** @param {Turn} turn */
function stateOf({ answer, failure, streamed }) {
  if (failure) return "failed";
  if (answer) return "done";
  return streamed.content ? "streaming" : "thinking";
}
