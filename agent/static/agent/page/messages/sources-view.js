// @ts-check
// The pages that an answer is based on, as links under it. Shows only addresses of the web: the
// addresses come from the model's provider and are not trusted.

import { t } from "../i18n/translate.js";
import { make } from "../ui/dom.js";

/** @typedef {import("../../client/transcript/entries.js").Source} Source */

export class SourcesView {
  element = make("div", { class: "sources", role: "group", "aria-label": t("sources") });
  #list = make("ul");
  /** @type {Source[]} */
  #shown = [];

  constructor() {
    this.element.append(make("span", { "aria-hidden": "true" }, t("sources")), this.#list);
    this.element.hidden = true;
  }

  /** @param {Source[]} sources the same array for the same answer */
  show(sources) {
    if (sources === this.#shown) return;
    this.#shown = sources;
    const links = new Map(sources.flatMap(linkOf));
    this.#list.replaceChildren(...[...links.values()].map((link) => make("li", {}, link)));
    this.element.hidden = links.size === 0;
  }
}

/**
 * A link with its address; none if the address is not of the web.
 *
 * @param {Source} source
 * @returns {[string, HTMLAnchorElement][]}
 */
function linkOf({ url, title }) {
  const page = pageOf(url);
  if (!page) return [];
  const label = title.trim() || page.hostname;
  const attributes = { href: page.href, target: "_blank", rel: "noopener noreferrer" };
  return [[page.href, make("a", { ...attributes, dir: "auto", title: page.href }, label)]];
}

/** @param {string} url @returns {URL | null} */
function pageOf(url) {
  try {
    const page = new URL(url);
    return page.protocol === "https:" || page.protocol === "http:" ? page : null;
  } catch {
    return null; // not an address
  }
}
