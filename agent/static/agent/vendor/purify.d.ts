// The part of DOMPurify that this project uses, for the type checker.
export interface Config {
  ALLOWED_TAGS: string[];
  ALLOWED_ATTR: string[];
  ALLOWED_URI_REGEXP: RegExp;
  ADD_URI_SAFE_ATTR: string[];
  ALLOW_DATA_ATTR: boolean;
  ALLOW_ARIA_ATTR: boolean;
  RETURN_DOM_FRAGMENT: true;
}
export interface Purify {
  (window: Window): Purify;
  sanitize(html: string, config: Config): DocumentFragment;
  addHook(name: "afterSanitizeAttributes", hook: (node: Element) => void): void;
}
declare const purify: Purify;
export default purify;
