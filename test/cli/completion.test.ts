/** The scripts of --completion, run in their shells. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { PROBES, SHELLS, type Shell } from '../../src/cli/arguments/flags.ts';
import { commandLine } from '../../src/cli/arguments/options.ts';
import { completion } from '../../src/cli/completion.ts';
import { sameOnEveryKernel, suite } from '../harness.ts';
import { missing, Terminal } from './terminal.ts';

const test = suite('cli/completion', { seconds: 60 });

/** A folder that contains a file and a folder; the scripts are next to it. */
let scratch = '';
let here = '';
test.before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'tsbpf-completion-'));
  here = join(scratch, 'here');
  mkdirSync(join(here, 'a folder'), { recursive: true });
  writeFileSync(join(here, 'a file'), '');
  for (const shell of SHELLS) writeFileSync(join(scratch, shell), completion(shell));
  writeFileSync(join(scratch, '.zshrc'), ZSHRC);
  writeFileSync(join(scratch, '.bashrc'), BASHRC);
});
test.after(async () => {
  await zsh?.close();
  rmSync(scratch, { recursive: true, force: true });
});

const place = () => ({
  cwd: here,
  env: { PATH: process.env.PATH, HOME: scratch, TERM: 'dumb', LC_ALL: 'C.UTF-8' },
});

function printed(program: string, ...args: readonly string[]): string[] {
  const { status, stdout, stderr } = spawnSync(program, args, { ...place(), encoding: 'utf8' });
  assert.is(status, 0, stderr);
  return stdout.split('\n').filter(Boolean);
}

// Each returns what the shell offers for the last word of a line. bash leaves files to readline, so it offers
// none.

/** Splits words as bash does, including at =. */
function offeredByBash(line: string): string[] {
  const words = line.split(/ |(?==)|(?<==)/);
  const driver = `source ../bash; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _tcpconnlat 2>../stderr; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const offered = printed('bash', '-c', driver, 'bash', ...words);
  const complaints = readFileSync(join(scratch, 'stderr'), 'utf8').split('\n').filter(Boolean);
  assert.ok(
    complaints.every((each) => each.includes('not currently executing completion function')),
    `${complaints}`,
  );
  return offered;
}

/** fish returns --option=value as one word. */
function offeredByFish(line: string): string[] {
  const lines = printed('fish', '-c', `source ../fish; complete -C"$argv[1]"`, line);
  return lines.map((each) => each.replace(/\t.*/, '').replace(/^--.*=/, ''));
}

/**
 * Also writes the matches of zsh to a file. Calls of compadd that only query are passed through.
 */
const ZSHRC = `
PROMPT='ready> ' RPROMPT= LISTMAX=10000
precmd() { print next }
autoload -Uz compinit && compinit -u -D
source ../zsh
compadd() {
  (( \${@[(I)-[OAD]]} )) && { builtin compadd "$@"; return }
  local -a offered
  builtin compadd -O offered "$@"
  print -rl -- \${(Q)offered} >>../offered
  builtin compadd "$@"
}
`;
const BASHRC = `
PS1='ready> ' PROMPT_COMMAND='echo next'
bind 'set bell-style none'
unset HISTFILE
source ../bash
tcpconnlat() { printf '<%s>' "$@"; }
`;
let zsh: Terminal | undefined;

async function offeredByZsh(line: string): Promise<string[]> {
  zsh ??= await Terminal.open('zsh -d -i', place());
  writeFileSync(join(scratch, 'offered'), '');
  await zsh.enter(`${line}\t\x15true\n`);
  return readFileSync(join(scratch, 'offered'), 'utf8').split('\n').filter(Boolean);
}

const OFFERED: Record<Shell, (line: string) => string[] | Promise<string[]>> = {
  bash: offeredByBash,
  zsh: offeredByZsh,
  fish: offeredByFish,
};
const NEEDS: Record<Shell, string[]> = { bash: ['bash'], zsh: ['zsh', 'script'], fish: ['fish'] };

const command = commandLine('');
const options = command.createHelp().visibleOptions(command);

for (const shell of SHELLS) {
  const skip = sameOnEveryKernel || missing(...NEEDS[shell]);
  const offered = async (line: string) => [...new Set(await OFFERED[shell](line))].sort();

  test.skipIf(skip, `${shell}: every long option is offered, and nothing else`, async () => {
    const long = options.map((option) => option.long ?? '');
    assert.ok(long.length > 30);
    assert.equal(await offered('tcpconnlat --'), long.sort());
    assert.equal(await offered('tcpconnlat --not-'), [
      '--not-comm',
      '--not-from',
      '--not-namespace',
      '--not-pod',
      '--not-port',
      '--not-to',
      '--not-uid',
      '--not-unit',
    ]);
  });

  test.skipIf(skip, `${shell}: short options are offered`, async () => {
    const all = await offered('tcpconnlat -');
    for (const { short } of options) if (short) assert.ok(all.includes(short), short);
  });

  test.skipIf(skip, `${shell}: the words of an option are offered`, async () => {
    assert.equal(await offered('tcpconnlat --prob'), ['--probe']);
    assert.equal(await offered('tcpconnlat --probe '), [...PROBES].sort());
    assert.equal(await offered('tcpconnlat -t --probe t'), ['tp_btf', 'trace_event', 'tracepoint']);
    assert.equal(await offered('tcpconnlat --probe=k'), ['kprobe']);
    assert.equal(await offered('tcpconnlat --completion '), [...SHELLS].sort());
  });

  test.skipIf(skip, `${shell}: process ids are offered`, async () => {
    const pid = String(process.pid);
    for (const line of [`-p ${pid}`, `-tp ${pid}`, `--pid ${pid}`, `--pid=${pid}`, `--netns ${pid}`])
      assert.ok((await offered(`tcpconnlat ${line}`)).includes(pid), line);
    assert.ok((await offered('tcpconnlat -p ')).includes(pid));
  });

  test.skipIf(skip, `${shell}: nothing is offered for other values`, async () => {
    for (const line of ['', 'a', '-t ', '--port ', '--to ', '--pages ', '--uid ', '--comm a'])
      assert.equal(await offered(`tcpconnlat ${line}`), [], line);
  });
}

const FILES = ['--btf', '--record', '--replay', '--netns'];
const skipZsh = sameOnEveryKernel || missing(...NEEDS.zsh);

test.skipIf(skipZsh, 'zsh: files and folders are offered', async () => {
  for (const option of FILES) {
    const offered = await offeredByZsh(`tcpconnlat ${option} a`);
    assert.ok(offered.includes('a file') && offered.includes('a folder'), `${option}: ${offered}`);
  }
  const folders = await offeredByZsh('tcpconnlat --cgroup a');
  assert.ok(folders.includes('a folder') && !folders.includes('a file'), `${folders}`);
});

test.skipIf(skipZsh, 'zsh: excluded options are not offered, and repeatable options are', async () => {
  const after = (line: string) => offeredByZsh(`tcpconnlat ${line} --`);
  const all = await after('');
  const gone = async (line: string) => {
    const left = await after(line);
    return all.filter((each) => !left.includes(each)).sort();
  };
  assert.equal(await gone('-4'), ['--ipv4', '--ipv6']);
  assert.equal(await gone('--dry-run'), ['--dry-run', '--record', '--replay', '--report']);
  assert.equal(await gone('--port 80 --not-port 81 -p 1'), []);
  assert.equal(await gone('--replay x'), [
    ...[
      '--btf',
      '--cgroup',
      '--dry-run',
      '--duration',
      '--keep-privileges',
      '--max-connects',
      '--netns',
      '--otlp',
      '--pages',
      '--pending-after',
      '--probe',
      '--prometheus',
      '--record',
      '--replay',
      '--summary',
      '--top',
      '--verbose',
    ],
  ]);
});

test.skipIf(sameOnEveryKernel || missing('fish'), 'fish: files and folders are offered', () => {
  for (const option of FILES)
    assert.equal(offeredByFish(`tcpconnlat ${option} a`).sort(), ['a file', 'a folder/'], option);
  assert.equal(offeredByFish('tcpconnlat --cgroup a'), ['a folder/']);
});

test.skipIf(
  sameOnEveryKernel || missing('bash', 'script'),
  'bash: files and folders are offered with quotes, at a prompt',
  async () => {
    const bash = await Terminal.open('bash --noprofile --rcfile ../.bashrc -i', place());
    const runs = async (keys: string) => /<.*>$/m.exec(await bash.enter(`${keys}\t\n`))?.[0];
    try {
      for (const option of FILES) {
        assert.is(await runs(`tcpconnlat ${option} a\\ fi`), `<${option}><a file>`);
        assert.is(await runs(`tcpconnlat ${option}="a fi`), `<${option}=a file>`);
      }
      assert.is(await runs('tcpconnlat --cgroup a'), '<--cgroup><a folder/>', 'of a file and a folder');
      assert.is(await runs('tcpconnlat a'), '<a>');
      assert.is(await runs('tcpconnlat --probe=raw'), '<--probe=raw_tracepoint>');
    } finally {
      await bash.close();
    }
  },
);

test.run();
