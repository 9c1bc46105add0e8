// The part of highlight.js that this project uses, for the type checker.
export type Language = (highlighter: unknown) => unknown;
export interface Highlighter {
  registerLanguage(name: string, language: Language): void;
  highlight(code: string, options: { language: string; ignoreIllegals: boolean }): { value: string };
}
declare const highlighter: Highlighter;
export default highlighter;
