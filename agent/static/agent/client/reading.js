// @ts-check
// The readable form of a transcript: questions with their answers, one version of each. A retry is
// another version of an answer. An edit is another version of a question, and begins a branch. The
// newest branch is shown until somebody chooses an earlier one. Pure.
//
// Notifications belong to no branch: they are always shown.

import { questionTree } from "./transcript/question-tree.js";

/** @typedef {import("./transcript/entries.js").Turn} Turn */
/** @typedef {import("./transcript/entries.js").Note} Note */
/** @typedef {import("./transcript/transcript.js").Transcript} Transcript */
/** @typedef {import("./transcript/question-tree.js").QuestionNode} QuestionNode */

/** @typedef {{index: number, count: number}} Version one of several, from 0 */

/**
 * @typedef {object} Exchange
 * @property {"exchange"} kind
 * @property {string} key
 * @property {Turn} first the turn that has the question
 * @property {Turn[]} turns the first and its retries, oldest first
 * @property {Turn} turn the one whose answer is shown
 * @property {Version} answers the version of the answer
 * @property {Version} edits the version of the question
 * @property {boolean} current the exchange is on the newest branch
 */

/** @typedef {Exchange | Note} Item */

export class Reading {
  #transcript;
  /** The chosen turn, by the key of its exchange. @type {Map<string, string>} */
  #answers = new Map();
  /** The chosen version of a question, by the key of its first version. @type {Map<string, string>} */
  #branches = new Map();
  #shape = -1;
  /** @type {Item[]} */
  #items = [];

  /** @param {Transcript} transcript */
  constructor(transcript) {
    this.#transcript = transcript;
  }

  /** The items to show, in order. The same array until an item is added, moved or chosen. */
  items() {
    if (this.#shape !== this.#transcript.shape) {
      this.#items = this.#read();
      this.#shape = this.#transcript.shape;
    }
    return this.#items;
  }

  /** The session's title, or else its first question; null while both are unknown. */
  get title() {
    const { title, firstSeq } = this.#transcript;
    if (title || firstSeq > 1) return title;
    const entries = this.#transcript.entries(); // of all branches, as the list of sessions has it
    const first = entries.find((entry) => entry.kind === "turn" && entry.question);
    return first?.kind === "turn" ? (first.question?.content ?? null) : null;
  }

  /** An earlier branch is shown. */
  get showsEarlierBranch() {
    return this.items().some((item) => item.kind === "exchange" && !item.current);
  }

  /** @param {Exchange} exchange @param {number} index of the version to show */
  showAnswer(exchange, index) {
    const turn = exchange.turns[index];
    if (turn) this.#choose(this.#answers, exchange.key, turn.id);
  }

  /** @param {Exchange} exchange @param {number} index of the version to show */
  showEdit(exchange, index) {
    const node = questionTree(this.#transcript.entries()).get(exchange.first);
    const version = node?.versions[index];
    if (node && version)
      this.#choose(this.#branches, node.versions[0].first.key, version.first.key);
  }

  /** Shows the newest branch and the newest answers. */
  showLatest() {
    this.#branches.clear();
    this.#answers.clear();
    this.#shape = -1;
  }

  /** Shows the newest answer to a question. @param {Exchange} exchange */
  showLatestAnswer(exchange) {
    this.#answers.delete(exchange.key);
    this.#shape = -1;
  }

  /** @param {Map<string, string>} choices @param {string} key @param {string} value */
  #choose(choices, key, value) {
    choices.set(key, value);
    this.#shape = -1;
  }

  #read() {
    const entries = this.#transcript.entries();
    const tree = questionTree(entries);
    const nodes = [...tree.values()];
    const shown = pathThrough(nodes, (versions) => this.#chosen(versions));
    const newest = pathThrough(nodes, (versions) => versions.at(-1));
    /** @type {Item[]} */
    const items = [];
    for (const entry of entries) {
      const node = entry.kind === "turn" ? tree.get(entry) : null;
      if (entry.kind === "note") items.push(entry);
      else if (node && shown.has(node)) items.push(this.#exchange(node, newest.has(node)));
    }
    return items;
  }

  /** @param {QuestionNode[]} versions */
  #chosen(versions) {
    const key = this.#branches.get(versions[0].first.key);
    return versions.find(({ first }) => first.key === key) ?? versions.at(-1);
  }

  /** @param {QuestionNode} node @param {boolean} current @returns {Exchange} */
  #exchange({ first, turns, versions }, current) {
    const started = turns.filter(({ state }) => state !== "waiting");
    const chosen = turns.find(({ id }) => id === this.#answers.get(first.key));
    const turn = chosen ?? started.at(-1) ?? first;
    const edit = versions.findIndex((version) => version.first === first);
    return {
      kind: "exchange",
      key: first.key,
      first,
      turns,
      turn,
      current,
      answers: { index: turns.indexOf(turn), count: turns.length },
      edits: { index: edit, count: versions.length },
    };
  }
}

/**
 * The nodes of one branch, from the beginning of the session on.
 *
 * @param {QuestionNode[]} nodes in the order of asking
 * @param {(versions: QuestionNode[]) => QuestionNode | undefined} choose a version of a question
 */
function pathThrough(nodes, choose) {
  /** @type {Set<QuestionNode>} */
  const path = new Set();
  for (const node of nodes) {
    const follows = node.parent === null || path.has(node.parent);
    if (follows && choose(node.versions) === node) path.add(node);
  }
  return path;
}
