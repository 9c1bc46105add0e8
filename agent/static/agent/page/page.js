// @ts-check
// The chat page: finds its parts, opens the session that the address names, and opens another
// when the address changes.
//
// The address: `/` is a new chat. As soon as its session has, or may get, something stored, the
// address becomes `/?session=<id>`, so that a reload comes back to it; before that there would be
// nothing to come back to.

import { browserStore } from "../client/storage.js";
import { Conversation } from "./conversation.js";
import { find } from "./dom.js";
import { followEnd } from "./follow.js";

const parts = {
  list: find("#messages", HTMLElement),
  empty: find("#empty", HTMLElement),
  skeleton: find("#skeleton", HTMLElement),
  form: find("#composer", HTMLFormElement),
  dot: find("#connection", HTMLElement),
  strip: find("#strip", HTMLElement),
  status: find("#status", HTMLElement),
  agent: find("#agent", HTMLElement),
  model: find("#model", HTMLElement),
  demo: find("#demo", HTMLElement),
  newChat: find("#new-chat", HTMLButtonElement),
};

const follow = followEnd(
  find("#conversation", HTMLElement),
  find("#column", HTMLElement),
  find("#jump", HTMLButtonElement),
);

const local = browserStore(() => window.localStorage);
const tab = browserStore(() => window.sessionStorage);

let conversation = open(sessionInAddress());

/** @param {string | null} session */
function open(session) {
  const opened = new Conversation(session, {
    parts,
    url: socketAddress(),
    signInPath: document.body.dataset.signInPath ?? "",
    local,
    tab,
    newChat,
    onSession: keepAddress,
    toEnd: follow.toEnd,
  });
  opened.start();
  return opened;
}

/** Leaves the present conversation for the one that the address names. */
function followAddress() {
  conversation.leave();
  conversation = open(sessionInAddress());
}

function newChat() {
  if (sessionInAddress()) history.pushState(null, "", location.pathname);
  followAddress();
}

/** @param {string} session */
function keepAddress(session) {
  if (sessionInAddress() === session) return;
  const draft = tab.get("agent.draft.new");
  history.replaceState(null, "", `?${new URLSearchParams({ session })}`);
  if (draft === null) return;
  local.set(`agent.draft.${session}`, draft);
  tab.remove("agent.draft.new");
}

function sessionInAddress() {
  return new URLSearchParams(location.search).get("session");
}

function socketAddress() {
  const address = new URL(document.body.dataset.socketPath ?? "", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return address.href;
}

parts.newChat.addEventListener("click", newChat);
for (const starter of document.querySelectorAll("#empty button")) {
  starter.addEventListener("click", () => conversation.ask(starter.textContent?.trim() ?? ""));
}
window.addEventListener("popstate", followAddress);
window.addEventListener("online", () => conversation.networkChanged(true));
window.addEventListener("offline", () => conversation.networkChanged(false));
window.addEventListener("pageshow", ({ persisted }) => persisted && conversation.wake());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") conversation.wake();
});
