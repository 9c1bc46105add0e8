// @ts-check
// The messages of a conversation on the page: the transcript, the queue above the composer, and
// the placeholders while there is none. Knows which of them shows what.

import { QueueView } from "../messages/queue-view.js";
import { TranscriptView } from "../messages/transcript-view.js";
import { NoticeView } from "../status/notice-view.js";
import { HistoryLoader } from "./history-loader.js";
import { Partition, partitionOutbox } from "./partition.js";

/** @typedef {import("../../client/client.js").AgentClient} AgentClient */
/** @typedef {import("../../client/reading.js").Reading} Reading */
/** @typedef {import("../../client/transcript/entries.js").Turn} Turn */
/** @typedef {import("../elements.js").PageElements} PageElements */

/**
 * @typedef {object} ConversationActions
 * @property {ReturnType<typeof import("./actions.js").messageActions>} message
 * @property {() => void} showLatest leaves an earlier branch
 * @property {() => void} scrollToEnd
 */

export class ConversationView {
  #client;
  #reading;
  #elements;
  #scrollToEnd;
  #transcript;
  #queue;
  #notice;
  #historyLoader;
  #partition = new Partition();
  /** The session has messages that have not arrived yet. */
  #isLoading;
  #wasShownWhole = false;
  /** The transcript's first frame at the last rendering. */
  #firstSeq = 0;

  /**
   * @param {AgentClient} client
   * @param {Reading} reading
   * @param {PageElements} elements
   * @param {ConversationActions} actions
   */
  constructor(client, reading, elements, { message, showLatest, scrollToEnd }) {
    this.#client = client;
    this.#reading = reading;
    this.#elements = elements;
    this.#scrollToEnd = scrollToEnd;
    this.#isLoading = client.session !== null;
    this.#transcript = new TranscriptView(elements.list, elements.agent.textContent ?? "", message);
    this.#queue = new QueueView(elements.queue, message);
    this.#notice = new NoticeView(elements.notice, showLatest);
    const load = () => client.loadHistory();
    this.#historyLoader = new HistoryLoader(elements.scroller, elements.list, load);
  }

  /** Removes the messages and the listeners. */
  dispose() {
    this.#historyLoader.dispose();
    this.#elements.list.replaceChildren();
    this.#elements.queue.replaceChildren();
    this.#elements.queue.hidden = true;
    this.#elements.notice.hidden = true;
  }

  /** @param {boolean} locked nothing can be asked here */
  show(locked) {
    const { phase } = this.#client.connection;
    const { skeleton, empty } = this.#elements;
    if (phase === "ready" || phase === "stopped") this.#isLoading = false;
    this.#showMessages();
    skeleton.hidden = !this.#isLoading;
    empty.hidden = this.#isLoading || locked || !this.#transcript.isEmpty;
    if (this.#wasShownWhole) return; // a reconnect must not move a reader
    this.#scrollToEnd();
    if (phase === "ready") {
      performance.mark("agent-ready"); // for measurements: the page can be used
      void this.#historyLoader.check();
      this.#wasShownWhole = true;
    }
  }

  /** Another second has passed. */
  tick() {
    this.#transcript.tick();
  }

  /** The answer of a turn, as a screen reader announces it. @param {Turn} turn */
  spoken(turn) {
    return this.#transcript.spoken(turn);
  }

  #showMessages() {
    const { transcript, outbox } = this.#client;
    const items = this.#reading.items();
    this.#partition.update(items);
    const { listed } = this.#partition;
    const { queued, unsent, waiting } = partitionOutbox(
      outbox,
      this.#partition.waiting,
      transcript.busy,
    );
    const delivery = {
      sent: outbox.sent,
      isPaused: this.#client.pausedUntil !== null,
      neverSent: (/** @type {string} */ id) => outbox.neverSent(id),
    };
    const show = () => this.#transcript.show(listed, unsent, delivery);
    if (this.#firstSeq > transcript.firstSeq) this.#historyLoader.keepPosition(show);
    else show();
    this.#firstSeq = transcript.firstSeq;
    this.#queue.show(waiting, queued, delivery);
    this.#notice.show(items, this.#reading.showsEarlierBranch);
  }
}
