// @ts-check
// The tree of questions in a transcript. A question follows the one before it; an edit stands
// beside the question that it replaces. Pure.

/** @typedef {import("./entries.js").Turn} Turn */
/** @typedef {import("./entries.js").Entry} Entry */

/**
 * @typedef {object} QuestionNode
 * @property {Turn} first the turn that has the question
 * @property {Turn[]} turns the first and its retries, oldest first
 * @property {QuestionNode | null} parent the question before it
 * @property {QuestionNode[]} versions of the question, this one among them; all share the array
 */

/**
 * @param {Entry[]} entries
 * @returns {Map<Turn, QuestionNode>} by the turn that has the question, in the order of asking
 */
export function questionTree(entries) {
  const turns = /** @type {Turn[]} */ (entries.filter(({ kind }) => kind === "turn"));
  const groups = [...groupedByQuestion(turns)].sort(([a], [b]) => askedAt(a) - askedAt(b));
  /** @type {Map<Turn, QuestionNode>} */
  const nodes = new Map();
  /** @type {Map<string, QuestionNode>} */
  const byMessage = new Map();
  /** @type {QuestionNode | null} */
  let last = null;
  for (const [first, group] of groups) {
    const { id = null, replaces = null } = first.question ?? {};
    const target = replaces ? byMessage.get(replaces) : undefined;
    /** @type {QuestionNode} */
    const node = { first, turns: group, parent: target ? target.parent : last, versions: [] };
    node.versions = target?.versions ?? [];
    node.versions.push(node);
    nodes.set(first, node);
    if (id) byMessage.set(id, node);
    last = node;
  }
  return nodes;
}

/**
 * The turns of each query, by the first of them. A retry has no query of its own, but the same `ref`.
 *
 * @param {Turn[]} turns
 */
function groupedByQuestion(turns) {
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

/** @param {Turn} turn its question may be on a page that is not loaded */
function askedAt({ question }) {
  if (!question) return 0;
  return question.seq ?? Number.MAX_SAFE_INTEGER;
}
