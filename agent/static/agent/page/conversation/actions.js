// @ts-check
// What can be done with a conversation and its messages, for the buttons and the typed commands.

import { t } from "../i18n/translate.js";

/** @typedef {import("../../client/client.js").AgentClient} AgentClient */
/** @typedef {import("../../client/transcript/entries.js").Frame} Frame */
/** @typedef {import("../../client/reading.js").Reading} Reading */
/** @typedef {import("../composer/composer.js").Composer} Composer */

/**
 * @typedef {object} Stage
 * @property {AgentClient} client
 * @property {Reading} reading
 * @property {() => Composer} composer
 * @property {(text: string, options?: import("../../client/outbox/outbox.js").Unsent["options"]) => void} ask
 * @property {(words: string) => void} tell something that went wrong
 * @property {(words: string) => void} say to a screen reader
 * @property {() => void} redraw
 */

/**
 * What the buttons on messages do.
 *
 * @param {Stage} stage
 * @returns {import("../messages/exchange-view.js").Deeds & import("../messages/queue-view.js").QueueDeeds}
 */
export function messageDeeds({ client, reading, composer, ask, tell, say, redraw }) {
  return {
    resend: (id) => client.resend(id),
    takeBack: (id) => composer().putBack([client.withdraw(id)]),
    async retry(exchange) {
      const fine = tellOf(await client.command("retry", { turn: exchange.turn.id }), tell);
      if (fine) reading.toLatestAnswer(exchange);
      redraw();
      return fine;
    },
    goOn: () => ask(t("goOn")),
    edit({ first }) {
      const { id, content = "" } = first.question ?? {};
      if (!id) return;
      composer().edit(content, (text) => ask(text, { replaces: id, on_busy: "interrupt" }));
    },
    judge: async (target, rating, comment) => {
      const fine = tellOf(await client.judge(target, rating, comment), tell);
      if (fine && rating) say(t("thanks"));
      return fine;
    },
    showAnswer(exchange, index) {
      reading.showAnswer(exchange, index);
      redraw();
    },
    showEdit(exchange, index) {
      reading.showEdit(exchange, index);
      redraw();
    },
    sendNow: (turn) => client.sendNow(turn),
    reclaim: (turn) => client.takeBack(turn),
    remove: (turn) => client.cancel(turn),
  };
}

/**
 * Tells of a reply that is an error, or missing.
 *
 * @param {Frame | null} reply
 * @param {(words: string) => void} tell
 * @returns {boolean} it was neither
 */
export function tellOf(reply, tell) {
  if (reply && reply.type !== "error") return true;
  tell(reply?.content ?? t("notNow"));
  return false;
}
