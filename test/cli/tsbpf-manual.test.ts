/** The man page of tsbpf matches the command: options, texts and examples. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { version } from '../../src/cli/version.ts';
import { sameOnEveryKernel, suite } from '../harness.ts';
import { missing } from './terminal.ts';

const test = suite('cli/tsbpf-manual', { seconds: 60 });

const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));
const COMMAND = join(PROJECT, 'dist/tsbpf.cjs');
const PAGE = join(PROJECT, 'man/tsbpf.8');
const page = readFileSync(PAGE, 'utf8').replaceAll('\\-', '-');

/** A section of the page. */
function section(title: string): string {
  return new RegExp(`^\\.SH ${title}\\n([\\s\\S]*?)(?=^\\.SH )`, 'm').exec(page)?.[1] ?? '';
}

function run(args: readonly string[], input = ''): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND, ...args], {
    input,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

test('OPTIONS has exactly the options of the four commands', () => {
  const optionsIn = (text: string) => new Set(text.match(/(?<![\w-])--?[a-z]+(?![\w-])/g));
  const helped = ['asm', 'disasm', 'dump', 'features'].flatMap((command) => {
    const [, options = ''] = run([command, '--help']).stdout.split('Options:');
    return [...options.matchAll(/^ {2}(-\S+ \S+)/gm)].flatMap(([, flags = '']) => [...optionsIn(flags)]);
  });
  const wanted = new Set(helped.filter((option) => option !== '-h' && option !== '--help'));
  const tags = [...section('OPTIONS').matchAll(/^\.TP\n(.*)$/gm)].map(([, tag = '']) =>
    tag.replaceAll(/\\f.|[",]/g, ' '),
  );
  assert.equal([...optionsIn(tags.join(' '))].sort(), [...wanted].sort());
});

test('the page lists exactly the formats', () => {
  const [, choices = ''] = /--format.*\(choices: ([^)]*)\)/.exec(run(['asm', '--help']).stdout) ?? [];
  const told = /^\.BR -f.* (\S+ \| \S+ \| \S+)$/m.exec(section('OPTIONS'))?.[1];
  assert.is(told, choices.replaceAll('"', '').replaceAll(',', ' |'));
});

test('the texts in the page are valid programs', () => {
  const texts = [...section('THE TEXT').matchAll(/^\.nf\n([\s\S]*?)^\.fi$/gm)].map(([, text = '']) => text);
  assert.is(texts.length, 2);
  for (const text of texts) {
    const { status, stderr } = run(['asm', '-'], text);
    assert.is(status, 0, stderr);
  }
});

test('the examples print the output in the page', () => {
  const [, shown = ''] = /^\.nf\n([\s\S]*?)^\.fi$/m.exec(section('EXAMPLES')) ?? [];
  // Examples for root have no output.
  const examples =
    shown
      .split(/^# .*\n/m)[0]
      ?.split(/^\$ /m)
      .slice(1) ?? [];
  assert.ok(examples.length >= 2);
  for (const example of examples) {
    const script = `tsbpf() { '${process.execPath}' '${COMMAND}' "$@"; }\n`;
    // A command continues until its quotes are closed.
    const [, command = '', output = ''] = /^((?:[^'\n]|'[^']*')*\n)([\s\S]*)$/.exec(example) ?? [];
    const { stdout } = spawnSync('sh', ['-c', script + command], { encoding: 'utf8' });
    assert.is(stdout, output);
  }
});

test('the page has this version', () => {
  assert.match(page, new RegExp(`^\\.TH TSBPF 8 "[\\d-]+" "tsbpf ${version()}" `, 'm'));
});

test.skipIf(sameOnEveryKernel || missing('man'), 'man formats the page without a warning', () => {
  const { status, stderr } = spawnSync('man', ['--warnings', '-l', PAGE], {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C.UTF-8', MANWIDTH: '80' },
  });
  assert.equal({ status, stderr }, { status: 0, stderr: '' });
});

test.run();
