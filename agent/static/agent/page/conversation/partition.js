// @ts-check
// Where each thing that was asked is shown: in the conversation, or above the composer because it
// waits.

/** @typedef {import("../../client/reading.js").Exchange} Exchange */
/** @typedef {import("../../client/reading.js").Item} Item */
/** @typedef {import("../../client/outbox/outbox.js").Outbox} Outbox */

export class Split {
  /** @type {Item[]} */
  #items = [];
  /** In the conversation. @type {Item[]} */
  listed = [];
  /** Above the composer, the next one first. @type {Exchange[]} */
  waiting = [];

  /** @param {Item[]} items the same array while nothing was added or moved */
  update(items) {
    if (items === this.#items) return;
    this.#items = items;
    this.listed = items.filter((item) => !waits(item));
    this.waiting = /** @type {Exchange[]} */ (items.filter(waits));
  }
}

/** @param {Item} item */
function waits(item) {
  return item.kind === "exchange" && item.first.state === "waiting";
}

/**
 * Queries of the outbox: what will have to wait is shown where it will wait, and what will take the
 * place of a waiting one is shown in its place.
 *
 * @param {Outbox} outbox
 * @param {Exchange[]} waiting
 * @param {boolean} busy the agent is
 */
export function splitOutbox({ entries }, waiting, busy) {
  const queued = entries.filter(({ refusal }) => !refusal && busy);
  const replaced = new Set(entries.map(({ instead }) => instead));
  return {
    queued,
    unsent: entries.filter((entry) => !queued.includes(entry)),
    waiting: waiting.filter(({ first }) => !replaced.has(first.id)),
  };
}
