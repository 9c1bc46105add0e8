// @ts-check
// What the typed commands do: `/clear`, `/rename A good title` ...

import { tellOf } from "../conversation/actions.js";
import { t } from "../i18n/translate.js";
import { parseCommand } from "./slash.js";

/** @typedef {import("../../client/client.js").AgentClient} AgentClient */
/** @typedef {import("../../client/reading.js").Reading} Reading */

/**
 * @typedef {object} Reach of the commands
 * @property {AgentClient} client
 * @property {Reading} reading
 * @property {(words: string) => void} tell something that went wrong
 * @property {() => void} newChat
 * @property {() => void} help shows what can be typed
 * @property {() => void} switchTheme
 * @property {(session: string, format: "md" | "json") => void} exportAs
 */

/**
 * Runs a text that is a command.
 *
 * @param {string} text
 * @param {Reach} reach
 * @returns {"message" | "done" | "refused"} `message`: it is no command
 */
export function runTyped(text, reach) {
  const command = parseCommand(text);
  if (!command) return "message";
  const words = run(command.name, command.args, reach);
  if (words) reach.tell(words);
  return words ? "refused" : "done";
}

/**
 * @param {string} name
 * @param {string} args
 * @param {Reach} reach
 * @returns {string} why not; empty: it is under way
 */
function run(name, args, { client, reading, tell, newChat, help, switchTheme, exportAs }) {
  /** @param {string} command @param {Record<string, unknown>} [fields] */
  const send = async (command, fields) => void tellOf(await client.command(command, fields), tell);
  switch (name) {
    case "help":
      help();
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
      newChat();
      return "";
    case "theme":
      switchTheme();
      return "";
    case "export":
      if (!client.session || client.transcript.isEmpty) return t("nothingYet");
      exportAs(client.session, args.toLowerCase() === "json" ? "json" : "md");
      return "";
    default:
      return t("unknownCommand", { name });
  }

  function retry() {
    const last = reading.items().findLast((item) => item.kind === "exchange");
    if (last?.kind !== "exchange") return t("nothingYet");
    reading.toLatestAnswer(last);
    void send("retry", { turn: last.turn.id });
    return "";
  }
}
