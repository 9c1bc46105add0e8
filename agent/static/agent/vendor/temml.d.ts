// The part of Temml that this project uses, for the type checker.
export interface Options {
  displayMode: boolean;
  throwOnError: boolean;
  annotate: boolean;
  maxExpand: number;
  maxSize: [number, number];
  trust: boolean;
}
export interface Temml {
  renderToString(source: string, options: Options): string;
}
declare const temml: Temml;
export default temml;
