// @ts-check
// The quiet line above an answer: the model is thinking, or how long it thought. Where the server
// shows the reasoning, the line opens to it; the reasoning is plain text, and is never announced.
//
// The line stays in place when the answer begins, so that nothing jumps. A server that shows only the
// time does so at the end of an answer; then the line stands in the gap above the answer.

import { formatDuration, formatReasoningTime } from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { make, setAttribute, setText } from "../ui/dom.js";

/** @typedef {import("../../client/transcript/entries.js").Turn} Turn */

export class ReasoningView {
  #label = make("span");
  #summary = make("summary", {}, this.#label);
  #content = document.createTextNode("");
  #details = make("details", { class: "reasoning" }, this.#summary);
  /** While there is no text of the reasoning. */
  #waiting = make("p", { class: "thinking" });
  /** When only the time is known. */
  #time = make("p", { class: "thought" });
  elements = [this.#time, this.#waiting, this.#details];
  #turn = "";
  #isThinking = false;
  /** When the page began to wait for this answer, ms since the epoch; 0: it does not wait. */
  #since = 0;
  /** When its reasoning began to arrive. */
  #reasoningSince = 0;
  /** How long the reasoning took, if the page saw it. @type {number | null} */
  #seenMs = null;

  constructor() {
    this.#details.append(make("p", { class: "thoughts", dir: "auto" }, this.#content));
  }

  /** @param {Turn} turn @param {boolean} hasText the answer has begun */
  show(turn, hasText) {
    const { id, answer, failure, streamedReasoning } = turn;
    const end = answer ?? failure;
    const reasoning = end?.reasoning ?? null;
    if (id !== this.#turn) this.#begin(id);
    this.#isThinking = !end && !hasText;
    const content = end ? (reasoning?.content ?? "") : streamedReasoning.content;
    this.#grow(content);
    this.#time.hidden = !reasoning || content !== "";
    this.#waiting.hidden = !this.#isThinking || content !== "";
    this.#details.hidden = content === "";
    this.#measure(content !== "");
    const label = formatReasoningTime(reasoning?.ms ?? this.#seenMs);
    setText(this.#time, this.#time.hidden ? "" : label);
    if (!this.#isThinking) setText(this.#label, this.#details.hidden ? "" : label);
    const tokens = reasoning?.tokens ? t("reasoningTokens", { n: reasoning.tokens }) : null;
    for (const line of [this.#time, this.#summary]) setAttribute(line, "title", tokens);
    setAttribute(this.#details, "data-thinking", this.#isThinking ? "" : null);
    this.tick();
  }

  /** Some of its lines are visible. */
  get isShown() {
    return !this.#time.hidden || !this.#details.hidden;
  }

  /** Another second has passed. */
  tick() {
    if (!this.#isThinking) return;
    const seconds = Math.floor((Date.now() - this.#since) / 1000);
    const label =
      seconds >= 2 ? t("thinkingFor", { time: formatDuration(seconds) }) : t("thinking");
    setText(this.#waiting, label);
    setText(this.#label, label);
  }

  /** @param {string} turn */
  #begin(turn) {
    this.#turn = turn;
    this.#details.open = false;
    this.#since = this.#reasoningSince = 0;
    this.#seenMs = null;
  }

  /** Measures the times. @param {boolean} hasReasoning */
  #measure(hasReasoning) {
    const now = Date.now();
    this.#since = this.#isThinking ? this.#since || now : 0;
    if (this.#isThinking) {
      this.#reasoningSince = hasReasoning ? this.#reasoningSince || now : 0; // 0: another attempt
      this.#seenMs = null;
    } else if (this.#reasoningSince) this.#seenMs ??= now - this.#reasoningSince;
  }

  /** Appends the new part only: reasoning may be long, and arrives in many pieces. @param {string} content */
  #grow(content) {
    const shown = this.#content.data;
    if (content === shown) return;
    if (content.startsWith(shown)) this.#content.appendData(content.slice(shown.length));
    else this.#content.data = content;
  }
}
