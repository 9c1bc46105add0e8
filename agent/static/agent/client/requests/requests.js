// @ts-check
// Requests in progress: each command and each feedback frame gets one reply that names its id as
// `ref`, or no reply when the connection is lost first.

import { newId } from "../ids.js";

/** @typedef {import("../transcript/entries.js").Frame} Frame */

export class Requests {
  #send;
  /** @type {Map<string, (reply: Frame | null) => void>} */
  #open = new Map();

  /** @param {(frame: Frame) => boolean} send false: not connected */
  constructor(send) {
    this.#send = send;
  }

  /**
   * Sends a frame that gets a reply.
   *
   * @param {Frame} frame without an id
   * @returns {Promise<Frame | null>} null: the connection was lost before the reply arrived
   */
  send(frame) {
    const id = newId();
    return new Promise((resolve) => {
      if (!this.#send({ ...frame, id })) resolve(null);
      else this.#open.set(id, resolve);
    });
  }

  /** @param {Frame} frame @returns {boolean} the frame was the reply to a request */
  resolve(frame) {
    const isReply =
      frame.type === "history" ||
      frame.type === "feedback" ||
      (frame.type === "error" && !frame.seq) ||
      (frame.type === "status" && frame.status === "done");
    const resolve = isReply ? this.#open.get(frame.ref) : undefined;
    if (!resolve) return false;
    this.#open.delete(frame.ref);
    resolve(frame);
    return true;
  }

  /** The connection was lost: no reply will arrive. */
  disconnected() {
    for (const resolve of this.#open.values()) resolve(null);
    this.#open.clear();
  }
}
