// @ts-check
// What of a transcript is read: questions with their answers, one version of each. A retry is
// another version of an answer; an edit is another version of a question, and begins a branch. The
// branch that goes on is shown until somebody chooses an older one. Pure.
//
// Notifications belong to no branch: they are always shown.

/** @typedef {import("./transcript/entries.js").Turn} Turn */
/** @typedef {import("./transcript/entries.js").Note} Note */
/** @typedef {import("./transcript/entries.js").Entry} Entry */
/** @typedef {import("./transcript/transcript.js").Transcript} Transcript */

/** @typedef {{index: number, count: number}} Version one of several, from 0 */

/**
 * @typedef {object} Exchange
 * @property {"exchange"} kind
 * @property {string} key
 * @property {Turn} first the turn that has the question
 * @property {Turn[]} turns the same and its retries, oldest first
 * @property {Turn} turn the one whose answer is shown
 * @property {Version} answers which of the turns that is
 * @property {Version} edits which version of the question this is
 * @property {boolean} current on the branch that goes on
 */

/** @typedef {Exchange | Note} Item */

/** @typedef {{first: Turn, turns: Turn[], parent: Node | null, versions: Node[]}} Node */

export class Reading {
  #transcript;
  /** The answer that was chosen, by the key of its exchange. @type {Map<string, string>} */
  #answers = new Map();
  /** The version that was chosen, by the key of the first one. @type {Map<string, string>} */
  #branches = new Map();
  #shape = -1;
  /** @type {Item[]} */
  #items = [];

  /** @param {Transcript} transcript */
  constructor(transcript) {
    this.#transcript = transcript;
  }

  /** What is read, in order. The same array until something is added, moved or chosen. */
  items() {
    if (this.#shape !== this.#transcript.shape) {
      this.#items = this.#read();
      this.#shape = this.#transcript.shape;
    }
    return this.#items;
  }

  /** What the session is called: its name, or how it began; null while that is not known. */
  get title() {
    const { title, firstSeq } = this.#transcript;
    if (title || firstSeq > 1) return title;
    const first = this.items().find((item) => item.kind === "exchange" && item.first.question);
    return first?.kind === "exchange" ? (first.first.question?.content ?? null) : null;
  }

  /** An older branch is shown. */
  get isBack() {
    return this.items().some((item) => item.kind === "exchange" && !item.current);
  }

  /** @param {Exchange} exchange @param {number} index of the version to show */
  showAnswer(exchange, index) {
    const turn = exchange.turns[index];
    if (turn) this.#choose(this.#answers, exchange.key, turn.id);
  }

  /** @param {Exchange} exchange @param {number} index of the version to show */
  showEdit(exchange, index) {
    const node = nodesOf(this.#transcript.entries()).get(exchange.first);
    const version = node?.versions[index];
    if (node && version)
      this.#choose(this.#branches, node.versions[0].first.key, version.first.key);
  }

  /** Shows the branch that goes on, and the newest answers. */
  toLatest() {
    this.#branches.clear();
    this.#answers.clear();
    this.#shape = -1;
  }

  /** Shows the newest answer to a question. @param {Exchange} exchange */
  toLatestAnswer(exchange) {
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
    const nodes = nodesOf(entries);
    const shown = this.#path([...nodes.values()], (versions) => this.#chosen(versions));
    const current = this.#path([...nodes.values()], (versions) => versions.at(-1));
    /** @type {Item[]} */
    const items = [];
    for (const entry of entries) {
      const node = entry.kind === "turn" ? nodes.get(entry) : null;
      if (entry.kind === "note") items.push(entry);
      else if (node && shown.has(node)) items.push(this.#exchange(node, current.has(node)));
    }
    return items;
  }

  /** @param {Node[]} versions */
  #chosen(versions) {
    const key = this.#branches.get(versions[0].first.key);
    return versions.find(({ first }) => first.key === key) ?? versions.at(-1);
  }

  /**
   * The nodes from the beginning on, with one version of each question.
   *
   * @param {Node[]} nodes in the order of asking
   * @param {(versions: Node[]) => Node | undefined} choose
   */
  #path(nodes, choose) {
    /** @type {Set<Node>} */
    const path = new Set();
    for (const node of nodes) {
      const follows = node.parent === null || path.has(node.parent);
      if (follows && choose(node.versions) === node) path.add(node);
    }
    return path;
  }

  /** @param {Node} node @param {boolean} current @returns {Exchange} */
  #exchange({ first, turns, versions }, current) {
    const begun = turns.filter(({ state }) => state !== "waiting");
    const chosen = turns.find(({ id }) => id === this.#answers.get(first.key));
    const turn = chosen ?? begun.at(-1) ?? first;
    const edit = versions.findIndex((version) => version.first === first);
    return {
      ...{ kind: "exchange", key: first.key, first, turns, turn, current },
      answers: { index: turns.indexOf(turn), count: turns.length },
      edits: { index: edit, count: versions.length },
    };
  }
}

/**
 * The tree of questions. A question follows the one before it; an edit takes the place of its
 * target, beside it.
 *
 * @param {Entry[]} entries
 * @returns {Map<Turn, Node>} by the turn that has the question, in the order of asking
 */
function nodesOf(entries) {
  const turns = /** @type {Turn[]} */ (entries.filter(({ kind }) => kind === "turn"));
  const groups = [...grouped(turns)].sort(([a], [b]) => askedAt(a) - askedAt(b));
  /** @type {Map<Turn, Node>} */
  const nodes = new Map();
  /** @type {Map<string, Node>} */
  const byMessage = new Map();
  /** @type {Node | null} */
  let last = null;
  for (const [first, all] of groups) {
    const { id = null, replaces = null } = first.question ?? {};
    const target = replaces ? byMessage.get(replaces) : undefined;
    /** @type {Node} */
    const node = { first, turns: all, parent: target ? target.parent : last, versions: [] };
    node.versions = target?.versions ?? [];
    node.versions.push(node);
    nodes.set(first, node);
    if (id) byMessage.set(id, node);
    last = node;
  }
  return nodes;
}

/**
 * Each query's turns, by the first of them. A retry has no query of its own, but the same `ref`.
 *
 * @param {Turn[]} turns
 */
function grouped(turns) {
  /** @type {Map<Turn, Turn[]>} */
  const groups = new Map();
  /** @type {Map<string, Turn>} */
  const firsts = new Map();
  for (const turn of turns) if (turn.question && turn.ref) firsts.set(turn.ref, turn);
  for (const turn of turns) {
    const first = (!turn.question && turn.ref && firsts.get(turn.ref)) || turn;
    const group = groups.get(first) ?? [];
    if (turn === first) group.unshift(turn);
    else group.push(turn);
    groups.set(first, group);
  }
  return groups;
}

/** @param {Turn} turn whose question may be on a page that is not loaded */
function askedAt({ question }) {
  if (!question) return 0;
  return question.seq ?? Number.MAX_SAFE_INTEGER;
}
