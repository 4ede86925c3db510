/** The exit status of every error code, and docs/errors.md, which lists them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { AssembleError } from '../../src/asm/assemble.ts';
import { BtfError } from '../../src/asm/btf.ts';
import { EXIT_STATUS, exitStatusOf } from '../../src/cli/exit-status.ts';
import { RecordingError } from '../../src/cli/recording.ts';
import { suite } from '../harness.ts';

const test = suite('cli/exit-status');

const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));

/** The error classes in src, as rows of class and code. */
const classes = readdirSync(join(PROJECT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .flatMap((file) => {
    const source = readFileSync(join(PROJECT, 'src', file), 'utf8');
    const found = source.matchAll(
      /^export class (\w+Error) extends \w+ \{[^}]*?\bcode(?:: string)? = '(\w+)'/gm,
    );
    return [...found].map(([, name = '', code = '']) => [name, code] as const);
  })
  .sort(([, a], [, b]) => (a < b ? -1 : 1));

/** The rows of the tables in docs/errors.md. */
const documented = [
  ...readFileSync(join(PROJECT, 'docs/errors.md'), 'utf8').matchAll(
    /^\| `(\w+)` \| `(\w+)` \| [^|]+ \| [^|]+ \| (\S+) \|$/gm,
  ),
]
  .map(([, name = '', code = '', status = '']) => ({ name, code, status }))
  .sort((a, b) => (a.code < b.code ? -1 : 1));

/** The status in docs/errors.md, which for an invalid program is that of `tsbpf`. */
function documentedStatus(status: (typeof EXIT_STATUS)[string] | undefined): string {
  if (status === 'program') return '2';
  return status === 'bug' ? '1' : String(status);
}

test('every error class has a code of its own', () => {
  assert.ok(classes.length > 30);
  const codes = classes.map(([, code]) => code);
  assert.is(new Set(codes).size, codes.length);
  for (const code of codes) assert.match(code, /^ERR_[A-Z]+(_[A-Z]+)*$/);
});

test('every code has an exit status, and there are no other codes', () => {
  assert.equal(
    Object.keys(EXIT_STATUS).sort(),
    classes.map(([, code]) => code),
  );
});

test('docs/errors.md lists exactly the classes and codes in src, with their exit status', () => {
  assert.equal(
    documented,
    classes.map(([name, code]) => ({
      ...{ name, code },
      status: documentedStatus(EXIT_STATUS[code]),
    })),
  );
});

test('the status of an error is that of its code; other errors are bugs', () => {
  assert.is(exitStatusOf(new BtfError('not BTF'), 'project'), 1);
  assert.is(exitStatusOf(new RecordingError('it is empty'), 'project'), 2);
  assert.is(exitStatusOf(new TypeError('x is not a function'), 'user'), 'bug');
});

test('an invalid program is status 2 if the user wrote it, and a bug if the project did', () => {
  assert.is(exitStatusOf(new AssembleError('the list is empty'), 'user'), 2);
  assert.is(exitStatusOf(new AssembleError('the list is empty'), 'project'), 'bug');
});

test.run();
