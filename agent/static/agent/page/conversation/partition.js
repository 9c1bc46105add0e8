// @ts-check
// Decides where each question is shown: in the conversation, or above the composer while it waits.

/** @typedef {import("../../client/reading.js").Exchange} Exchange */
/** @typedef {import("../../client/reading.js").Item} Item */
/** @typedef {import("../../client/outbox/outbox.js").Outbox} Outbox */

export class Partition {
  /** @type {Item[]} */
  #items = [];
  /** In the conversation. @type {Item[]} */
  listed = [];
  /** Above the composer, the next one first. @type {Exchange[]} */
  waiting = [];

  /** @param {Item[]} items the same array while no item was added or moved */
  update(items) {
    if (items === this.#items) return;
    this.#items = items;
    this.listed = items.filter((item) => !isWaiting(item));
    this.waiting = /** @type {Exchange[]} */ (items.filter(isWaiting));
  }
}

/** @param {Item} item */
function isWaiting(item) {
  return item.kind === "exchange" && item.first.state === "waiting";
}

/**
 * Decides the same for queries of the outbox: a query that will have to wait is shown in the queue,
 * and one that replaces a waiting turn is shown instead of that turn.
 *
 * @param {Outbox} outbox
 * @param {Exchange[]} waiting
 * @param {boolean} busy some turn runs or waits
 */
export function partitionOutbox({ entries }, waiting, busy) {
  const queued = entries.filter(({ refusal }) => !refusal && busy);
  const replaced = new Set(entries.map(({ instead }) => instead));
  return {
    queued,
    unsent: entries.filter((entry) => !queued.includes(entry)),
    waiting: waiting.filter(({ first }) => !replaced.has(first.id)),
  };
}
