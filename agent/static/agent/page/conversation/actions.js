// @ts-check
// The actions of the buttons on messages, under the names of the client's actions (see `client.js`).
// `typed-commands.js` has the typed ones.

import { t } from "../i18n/translate.js";

/** @typedef {import("../../client/client.js").AgentClient} AgentClient */
/** @typedef {import("../../client/transcript/entries.js").Frame} Frame */
/** @typedef {import("../../client/reading.js").Reading} Reading */
/** @typedef {import("../../client/outbox/outbox.js").Unsent} Unsent */
/** @typedef {import("../composer/composer.js").Composer} Composer */

/**
 * @typedef {object} ActionContext
 * @property {AgentClient} client
 * @property {Reading} reading
 * @property {Composer} composer
 * @property {(text: string, options?: Unsent["options"]) => void} ask
 * @property {(message: string) => void} showProblem
 * @property {(text: string) => void} announce to a screen reader
 * @property {() => void} render
 * @property {() => void} newChat
 */

/**
 * @param {ActionContext} context
 * @returns {import("../messages/exchange-view.js").MessageActions & import("../messages/queue-view.js").QueueActions}
 */
export function messageActions({
  client,
  reading,
  composer,
  ask,
  showProblem,
  announce,
  render,
  newChat,
}) {
  return {
    resend: (id) => client.resend(id),
    discard: (id) => void client.withdraw(id),
    newChat,
    async clear() {
      isAccepted(await client.command("clear"), showProblem);
    },
    withdraw: (id) => composer.insert([client.withdraw(id)]),
    async retry(exchange) {
      const reply = await client.command("retry", { turn: exchange.turn.id });
      const accepted = isAccepted(reply, showProblem);
      if (accepted) reading.showLatestAnswer(exchange);
      render();
      return accepted;
    },
    continueAnswer: () => ask(t("continuePrompt")),
    edit({ first }) {
      const { id, content = "" } = first.question ?? {};
      if (!id) return;
      composer.edit(content, (text) => ask(text, { replaces: id, on_busy: "interrupt" }));
    },
    async sendFeedback(target, rating, comment) {
      const reply = await client.sendFeedback(target, rating, comment);
      const accepted = isAccepted(reply, showProblem);
      if (accepted && rating) announce(t("thanks"));
      return accepted;
    },
    showAnswer(exchange, index) {
      reading.showAnswer(exchange, index);
      render();
    },
    showEdit(exchange, index) {
      reading.showEdit(exchange, index);
      render();
    },
    sendNow: (turn) => client.sendNow(turn),
    recall: (turn) => client.recall(turn),
    cancel: (turn) => client.cancel(turn),
  };
}

/**
 * Shows a problem if a reply is an error or missing.
 *
 * @param {Frame | null} reply
 * @param {(message: string) => void} showProblem
 * @returns {boolean} the server accepted the request
 */
export function isAccepted(reply, showProblem) {
  if (reply && reply.type !== "error") return true;
  showProblem(reply?.content ?? t("notNow"));
  return false;
}
