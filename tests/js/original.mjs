// Runs the client of the original Agent WebSocket as its documentation shows it, with only the address
// changed, and around it the page that the documentation leaves to its reader. Prints one JSON line for
// each thing that the page would show.
//
//     node original.mjs ws://127.0.0.1:8000/functions/v1/agent_websocket "a question" ...

import { readFileSync } from "node:fs";
import { runInThisContext } from "node:vm";

const ADDRESS = "wss://your-project-ref.supabase.co/functions/v1/agent_websocket";
const [address, ...questions] = process.argv.slice(2);
const source = readFileSync(new URL("original-client.js", import.meta.url), "utf8");
if (source.split(ADDRESS).length !== 2) throw new Error("the address is not there once");

const show = (what) => (words) => process.stdout.write(`${JSON.stringify([what, words])}\n`);
const ask = () => {
  const question = questions.shift();
  if (question === undefined) socketOfTheClient().close(1000);
  else globalThis.sendMessage(question);
};
const after = (showIt) => (words) => {
  showIt(words);
  ask();
};
let connected = false;

console.log = () => {}; // it logs whatever it receives
globalThis.showNotification = (words) => {
  show("notification")(words);
  if (!connected) ask();
  connected = true;
};
globalThis.updateStatus = show("status");
globalThis.displayResponse = after(show("response"));
globalThis.showError = after(show("error"));
const socketOfTheClient = () => runInThisContext("socket");

runInThisContext(source.replace(ADDRESS, address));
