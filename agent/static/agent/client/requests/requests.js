// @ts-check
// Commands and feedback under way: each gets one reply with its id as `ref`, or none when the
// connection goes.

/** @typedef {import("../transcript/entries.js").Frame} Frame */

export class Commands {
  #send;
  /** @type {Map<string, (reply: Frame | null) => void>} */
  #open = new Map();

  /** @param {(frame: Frame) => boolean} send false: not connected */
  constructor(send) {
    this.#send = send;
  }

  /**
   * @param {string} name
   * @param {Record<string, unknown>} args
   * @returns {Promise<Frame | null>} null: the connection was lost before the reply came
   */
  run(name, args) {
    return this.request({ type: "command", content: name, args });
  }

  /**
   * @param {Frame} frame that gets a reply; its id is chosen here
   * @returns {Promise<Frame | null>} null: the connection was lost before the reply came
   */
  request(frame) {
    const id = newId();
    return new Promise((resolve) => {
      if (!this.#send({ ...frame, id })) resolve(null);
      else this.#open.set(id, resolve);
    });
  }

  /**
   * @param {string} target message id of an answer
   * @param {"up" | "down" | null} rating
   * @param {string} comment
   */
  judge(target, rating, comment) {
    const frame = { type: "human_feedback", target, rating };
    return this.request(comment ? { ...frame, content: comment } : frame);
  }

  /** @param {Frame} frame @returns {boolean} it was the reply to one */
  settle(frame) {
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

  /** The connection is gone, and with it the replies. */
  lost() {
    for (const resolve of this.#open.values()) resolve(null);
    this.#open.clear();
  }
}

/** A random client id. It needs to be unique, not secret. */
export function newId() {
  const bytes = new Uint8Array(16);
  // crypto.randomUUID needs HTTPS, and Node 18 has no global crypto
  if (globalThis.crypto) globalThis.crypto.getRandomValues(bytes);
  else for (let i = 0; i < bytes.length; i += 1) bytes[i] = Math.random() * 256;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
