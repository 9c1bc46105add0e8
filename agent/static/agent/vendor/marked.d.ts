// The part of marked that this project uses, for the type checker.
export interface Token {
  type: string;
  raw: string;
  /** Of a piece of code. */
  text?: string;
  lang?: string;
  /** Of a list. */
  items?: { raw: string }[];
  ordered?: boolean;
  loose?: boolean;
  /** Of inline text. */
  escaped?: boolean;
  tokens?: Token[];
  /** Of our own tokens. */
  isDisplayed?: boolean;
  heading?: Token[];
}
export interface Extension {
  name: string;
  level: "block" | "inline";
  start(source: string): number | undefined;
  tokenizer(this: { lexer: Lexer }, source: string): Token | undefined;
  renderer(this: { parser: Parser }, token: Token): string;
}
export interface Lexer {
  inlineTokens(source: string): Token[];
  blockTokens(source: string, tokens: Token[]): Token[];
}
export interface Parser {
  parse(tokens: Token[]): string;
  parseInline(tokens: Token[]): string;
}
export class Tokenizer {
  lexer: Lexer;
  escape(source: string): Token | false | undefined;
  url(source: string): Token | false | undefined;
  emStrong(source: string, masked: string, before?: string): Token | false | undefined;
  del(source: string, masked: string, before?: string): Token | false | undefined;
}
export interface Html {
  text: string;
  block?: boolean;
}
export interface Options {
  gfm: boolean;
  breaks: boolean;
  renderer: {
    html(token: Html): string;
    code(token: { text: string; lang?: string }): string;
    checkbox(token: { checked: boolean }): string;
    image(token: { href: string; text: string }): string;
  };
}
export class Marked {
  constructor(options: Options);
  use(options: { extensions: Extension[] }): void;
  setOptions(options: { tokenizer: Tokenizer }): void;
  lexer(source: string): Token[] & { links: Record<string, unknown> };
  parser(tokens: Token[]): string;
}
