import assert from "node:assert/strict";
import { test } from "node:test";
import { htmlOf, tokensOf } from "../../agent/static/agent/page/markdown/parser.js";

const html = (source) => tokensOf(source).map(htmlOf).join("");
/** What a reader sees, and what is copied from the page. */
const shown = (source) =>
  html(source)
    .replace(/<[^>]+>/g, "")
    .replace(/&#(\d+);/g, (_, code) => String.fromCharCode(code))
    .replaceAll("&amp;", "&")
    .replaceAll("&gt;", ">")
    .replaceAll("&lt;", "<")
    .replaceAll("&quot;", '"')
    .trim();
const formulas = (source) =>
  [...html(source).matchAll(/class="(formula[^"]*)" title="([^"]*)"/g)].map(([, kind, text]) => [
    kind === "formula",
    text.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(code)),
  ]);

test("formulas keep every character of their source", () => {
  for (const source of [
    "Euler: \\( e^{i\\pi}+1=0 \\) holds",
    "\\[ \\int_0^1 x\\,dx \\]",
    "\\[\n\\begin{aligned}\na &= 1 \\\\\nb &= 2\n\\end{aligned}\n\\]",
    "$$\na &= 1 \\\\\nb &= 2\n$$",
    "$$\n- x_1 * y_2\n+ z_1 * w\n$$",
    "so $a_1 * b_2 = c_{3}$ and $x$",
    "\\begin{pmatrix} a & b \\\\ c & d \\end{pmatrix}",
  ]) {
    assert.equal(shown(source), source);
    assert.ok(formulas(source).length, source);
  }
  assert.deepEqual(formulas("a \\(x\\) and \\[y+1\\] and $z$ and $$w$$"), [
    [true, "x"],
    [false, "y+1"],
    [true, "z"],
    [false, "w"],
  ]);
  assert.deepEqual(formulas("the $n$th and $2x$, **so $a*b$ and $c*d$**").length, 4);
});

test("a formula inside of a list, a table and a quotation is a formula", () => {
  assert.equal(formulas("- \\[ x + 1 \\]\n- $y$\n\n> $z$\n\n|a|\n|-|\n|$w$|").length, 4);
});

test("prices, variables and escaped brackets are text", () => {
  for (const source of [
    "$5 and $10",
    "from $5-$10, or US$5 to US$10",
    "costs 5$, or 6$.",
    "between $5 and 10$ a month",
    "$HOME/bin:$PATH",
    "call $foo->bar($baz)",
    "`$a$` and `\\(x\\)`",
  ]) {
    assert.deepEqual(formulas(source), [], source);
  }
  assert.equal(shown("\\$5 and \\$10"), "$5 and $10");
  assert.equal(shown("see \\[1\\] and \\(see below\\)"), "see [1] and (see below)");
  assert.equal(shown("not yet \\( x"), "not yet ( x");
});

test("paths keep their backslashes, and escapes that models mean work", () => {
  for (const source of [
    "Open C:\\proj\\_scratch\\.venv and \\\\server\\share.",
    "..\\_build\\.cache, %APPDATA%\\_x\\y and src\\app\\_private.py",
    "a \\\\ b, 50\\% and \\{x\\}",
  ]) {
    assert.equal(shown(source), source);
  }
  assert.equal(shown("snake\\_case\\_name, \\*no\\* \\# 1\\. x"), "snake_case_name, *no* # 1. x");
});

test("emphasis stands beside punctuation of every script", () => {
  const bold = (source) => [...html(source).matchAll(/<strong>(.*?)<\/strong>/g)].map((m) => m[1]);
  assert.deepEqual(bold("中文**“强调”**后面 and 这是**重点（注意）**内容。 **Note:**text."), [
    "“强调”",
    "重点（注意）",
    "Note:",
  ]);
  assert.deepEqual(bold("**注意：**后，**「引用」**です。"), ["注意：", "「引用」"]);
  assert.deepEqual(bold("한국어**(강조)**는"), ["(강조)"]);
  assert.match(html("这是*“重点”*内容"), /<em>“重点”<\/em>/);
  assert.match(html("这是~~删除。~~后"), /<del>删除。<\/del>/);
  assert.deepEqual(bold("**bold *it* and `**`**"), ["bold <em>it</em> and <code>**</code>"]);
  assert.match(html("***both***"), /<em><strong>both<\/strong><\/em>/);
  assert.deepEqual(bold("f(*args, **kwargs) and g(**opts)"), []);
  assert.doesNotMatch(html("5 * 3 * 2 and a ** b"), /<em>|<strong>/);
});

test("a bare address ends before punctuation of full width", () => {
  const links = (source) => [...html(source).matchAll(/href="([^"]*)"/g)].map((m) => m[1]);
  assert.deepEqual(links("访问 https://example.com/docs（说明）。后面"), [
    "https://example.com/docs",
  ]);
  assert.deepEqual(links("看https://example.com/a?b=c。又"), ["https://example.com/a?b=c"]);
  assert.deepEqual(links("https://zh.wikipedia.org/wiki/中文"), [
    "https://zh.wikipedia.org/wiki/%E4%B8%AD%E6%96%87",
  ]);
});

test("footnotes, foldable parts and harmless tags are shown as such", () => {
  assert.equal(
    html("a[^1]\n\n[^1]: see **b**"),
    "<p>a<sup>1</sup></p>\n<p><sup>1</sup> see <strong>b</strong></p>",
  );
  const folded =
    "<details>\n<summary>More</summary>\n\n- a\n\n<details>\n\nx\n\n</details>\n\n</details>\n\nafter";
  assert.match(
    html(folded),
    /^<details><summary>More<\/summary><ul>[\s\S]*<details><p>x<\/p>\n<\/details><\/details><p>after/,
  );
  assert.match(html("<u>a</u> <mark>b</mark> <b>c</b>"), /<u>a<\/u> <mark>b<\/mark> <b>c<\/b>/);
  assert.doesNotMatch(html("<u onclick=x>a</u> <script>y</script>"), /<u |<script/);
});
