/** The check of `npm run check` that wraps comments and prose. */
import * as assert from 'uvu/assert';
import { suite } from './harness.ts';
import { MAX_COLUMNS, wideComments, wideManPage, wideMarkdown, wideShellComments } from './prose-width.ts';

const test = suite('prose-width');

const LONG = 'word '.repeat(30).trim();
const FENCE = '```';

test('the limit itself is not too wide, and columns count characters', () => {
  assert.equal(wideMarkdown('é'.repeat(MAX_COLUMNS)), []);
  assert.equal(wideMarkdown('é'.repeat(MAX_COLUMNS + 1)), [1]);
});

test('comments count, and code and links do not', () => {
  const text = `// ${LONG}\nconst text = '${LONG}';\n * ${LONG}\ncode(); // ${LONG}\n// https://example.org ${LONG}`;
  assert.equal(wideComments(text), [1, 3, 4]);
  assert.equal(wideShellComments(`# ${LONG}\necho '${LONG}'`), [1]);
});

test('Markdown counts, and its tables and code blocks do not', () => {
  assert.equal(wideMarkdown(`${LONG}\n| ${LONG} |\n${FENCE}\n${LONG}\n${FENCE}\n- ${LONG}`), [1, 6]);
});

test('man pages count, and their screens do not', () => {
  assert.equal(wideManPage(`${LONG}\n.nf\n${LONG}\n.fi\n.B ${LONG}`), [1, 5]);
});

test.run();
