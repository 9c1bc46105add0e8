// @ts-check
// The typed commands: `/clear`, `/rename A good title` ...

import { parseCommand } from "../composer/slash.js";
import { t } from "../i18n/translate.js";
import { isAccepted } from "./actions.js";

/** @typedef {import("../../client/client.js").AgentClient} AgentClient */
/** @typedef {import("../../client/reading.js").Reading} Reading */

/**
 * @typedef {object} CommandContext
 * @property {AgentClient} client
 * @property {Reading} reading
 * @property {(message: string) => void} showProblem
 * @property {() => void} newChat
 * @property {() => void} showHelp
 * @property {() => void} switchTheme
 * @property {(session: string, format: "md" | "json") => void} exportAs
 */

/**
 * Runs a text that is a command.
 *
 * @param {string} text
 * @param {CommandContext} context
 * @returns {"message" | "done" | "refused"} `message`: the text is not a command
 */
export function runTyped(text, context) {
  const command = parseCommand(text);
  if (!command) return "message";
  const refusal = run(command.name, command.args, context);
  if (refusal) context.showProblem(refusal);
  return refusal ? "refused" : "done";
}

/**
 * @param {string} name
 * @param {string} args
 * @param {CommandContext} context
 * @returns {string} why it was refused; empty: it is under way
 */
function run(name, args, context) {
  const { client, showProblem } = context;
  /** @param {string} command @param {Record<string, unknown>} [fields] */
  const send = async (command, fields) =>
    void isAccepted(await client.command(command, fields), showProblem);
  switch (name) {
    case "help":
      context.showHelp();
      return "";
    case "clear":
    case "close":
      void send(name);
      return "";
    case "rename":
      if (!args) return t("needsTitle");
      void send("rename", { title: args });
      return "";
    case "retry":
      return retry();
    case "stop":
      client.stop();
      return "";
    case "new":
      context.newChat();
      return "";
    case "theme":
      context.switchTheme();
      return "";
    case "export":
      if (!client.session || client.transcript.isEmpty) return t("nothingYet");
      context.exportAs(client.session, args.toLowerCase() === "json" ? "json" : "md");
      return "";
    default:
      return t("unknownCommand", { name });
  }

  function retry() {
    const { reading } = context;
    const last = reading.items().findLast((item) => item.kind === "exchange");
    if (last?.kind !== "exchange") return t("nothingYet");
    reading.showLatestAnswer(last);
    void send("retry", { turn: last.turn.id });
    return "";
  }
}
