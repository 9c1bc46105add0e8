// @ts-check
// The quiet line above an answer: that the model thinks, or for how long it did. It opens where the
// server shows what was thought, which is text and nothing else, and never read out by itself.
//
// The line stays where it is when the answer begins, so nothing jumps. A server that tells only the
// time does so with the end of an answer; that line has its place in the gap above.

import { spanWords, thoughtWords } from "../i18n/format.js";
import { t } from "../i18n/translate.js";
import { make, setAttribute, setText } from "../ui/dom.js";

/** @typedef {import("../../client/transcript/entries.js").Turn} Turn */

export class ReasoningView {
  #words = make("span");
  #summary = make("summary", {}, this.#words);
  #content = document.createTextNode("");
  #details = make("details", { class: "reasoning" }, this.#summary);
  /** While nothing is known of what is thought. */
  #waiting = make("p", { class: "thinking" });
  /** When nothing but the time is told. */
  #time = make("p", { class: "thought" });
  elements = [this.#time, this.#waiting, this.#details];
  #turn = "";
  #isThinking = false;
  /** When this answer was first seen to be awaited, ms since the epoch; 0: it is not. */
  #since = 0;
  /** When its reasoning was first seen. */
  #reasonsSince = 0;
  /** How long that took, as far as it was seen. @type {number | null} */
  #seenMs = null;

  constructor() {
    this.#details.append(make("p", { class: "thoughts" }, this.#content));
  }

  /** @param {Turn} turn @param {boolean} hasText the answer has begun */
  show(turn, hasText) {
    const { id, answer, failure, heldReasoning } = turn;
    const end = answer ?? failure;
    const told = end?.reasoning ?? null;
    if (id !== this.#turn) this.#begin(id);
    this.#isThinking = !end && !hasText;
    const content = end ? (told?.content ?? "") : heldReasoning.content;
    this.#grow(content);
    this.#time.hidden = !told || content !== "";
    this.#waiting.hidden = !this.#isThinking || content !== "";
    this.#details.hidden = content === "";
    this.#watch(content !== "");
    const words = thoughtWords(told?.ms ?? this.#seenMs);
    setText(this.#time, this.#time.hidden ? "" : words);
    if (!this.#isThinking) setText(this.#words, this.#details.hidden ? "" : words);
    const tokens = told?.tokens ? t("reasoningTokens", { n: told.tokens }) : null;
    for (const line of [this.#time, this.#summary]) setAttribute(line, "title", tokens);
    setAttribute(this.#details, "data-thinking", this.#isThinking ? "" : null);
    this.tick();
  }

  /** Something of it is seen. */
  get isShown() {
    return !this.#time.hidden || !this.#details.hidden;
  }

  /** Another second has passed. */
  tick() {
    if (!this.#isThinking) return;
    const seconds = Math.floor((Date.now() - this.#since) / 1000);
    const words = seconds >= 2 ? t("thinkingFor", { time: spanWords(seconds) }) : t("thinking");
    setText(this.#waiting, words);
    setText(this.#words, words);
  }

  /** @param {string} turn */
  #begin(turn) {
    this.#turn = turn;
    this.#details.open = false;
    this.#since = this.#reasonsSince = 0;
    this.#seenMs = null;
  }

  /** Takes the times. @param {boolean} isReasoned there is some reasoning */
  #watch(isReasoned) {
    const now = Date.now();
    this.#since = this.#isThinking ? this.#since || now : 0;
    if (this.#isThinking) {
      this.#reasonsSince = isReasoned ? this.#reasonsSince || now : 0; // 0: another attempt
      this.#seenMs = null;
    } else if (this.#reasonsSince) this.#seenMs ??= now - this.#reasonsSince;
  }

  /** Appends what is new: it may be long, and comes in many pieces. @param {string} content */
  #grow(content) {
    const shown = this.#content.data;
    if (content === shown) return;
    if (content.startsWith(shown)) this.#content.appendData(content.slice(shown.length));
    else this.#content.data = content;
  }
}
