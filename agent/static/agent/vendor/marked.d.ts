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
  lexer(source: string): Token[] & { links: Record<string, unknown> };
  parser(tokens: Token[]): string;
}
