/** `tsbpf dump` against bpftool: the same text for every instruction that this kernel supports. */
import { execFileSync, spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { call, callSubprogram, exit, label, lddw, loadMap, mov } from '../../src/asm/constructors.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import { getCurrentPidTgid, ktimeGetNs } from '../../src/asm/helpers.ts';
import type { Item } from '../../src/asm/instruction.ts';
import { allForms, type Form, formOf } from '../../src/asm/isa.ts';
import { u64 } from '../../src/asm/layout.ts';
import { array } from '../../src/asm/map.ts';
import { r0, r1, r6 } from '../../src/asm/registers.ts';
import { Attr, allocate, Command, type Descriptor } from '../../src/loader/bpf.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { exercise, knowsForm } from '../../src/loader/load/instruction-probe.ts';
import { programIds } from '../../src/loader/loaded/find.ts';
import { readLoadedProgram } from '../../src/loader/loaded.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { BtfWriter } from '../asm/btf-writer.ts';
import { construct, SAMPLES } from '../asm/fixtures/instructions.ts';
import { kernelText } from '../asm/fixtures/kernel-text.ts';
import { inGuest, needsRoot, sameOnEveryKernel, suite } from '../harness.ts';
import { assertSafe, ESCAPED, HOSTILE } from '../hostile.ts';
import { loadRaw, RAW_TRACEPOINT, type RawOptions } from './raw-load.ts';
import { isReleased } from './release.ts';

const test = suite('live/dump', { seconds: 120 });

const COMMAND = fileURLToPath(new URL('../../../dist/tsbpf.cjs', import.meta.url));
/** TSBPF_BPFTOOL selects another bpftool: an old one does not know newer instructions. */
const BPFTOOL = process.env.TSBPF_BPFTOOL || 'bpftool';

const kernel = needsRoot ? undefined : new Kernel();

function load(items: readonly Item[], options: RawOptions = {}): Descriptor | undefined {
  return loadRaw(kernel as Kernel, items, { maps, ...options });
}

const counts = array('counts', { value: u64 });
const maps = new Map<unknown, BpfMap>();
test.before(() => {
  if (kernel) maps.set(counts, BpfMap.create(kernel, counts) as unknown as BpfMap);
});
test.after(() => {
  for (const map of maps.values()) map.close();
});

function idOf(program: Descriptor): number {
  const info = allocate(8);
  new Attr((kernel as Kernel).syscalls, 16)
    .u32(0, program.fd)
    .u32(4, 8)
    .pointer(8, info)
    .send(Command.objGetInfoByFd);
  return new DataView(info.buffer).getUint32(4, true);
}

function bpftool(...args: string[]): string {
  return execFileSync(BPFTOOL, ['prog', 'dump', 'xlated', ...args], { encoding: 'utf8' });
}

function dump(...args: string[]): { stdout: string; stderr: string; status: number | null } {
  return spawnSync(process.execPath, [COMMAND, 'dump', ...args], { encoding: 'utf8' });
}

function noBpftool(): string | false {
  if (needsRoot) return needsRoot;
  return spawnSync(BPFTOOL, ['version']).status === 0 ? false : 'needs bpftool';
}

/**
 * bpftool prints the instructions of its own kernel version: 7.1 those of Linux 6.2, and 7.6 those up to
 * 6.15.
 */
function bpftoolSupport(version: string): (form: Form) => boolean {
  const isNew = Number(/v7\.(\d+)/.exec(version)?.[1]) >= 6;
  return ({ since = '0.0' }) => {
    const [major = 0, minor = 0] = since.split('.').map(Number);
    return isNew || major < 6 || (major === 6 && minor < 2);
  };
}

/**
 * Removes the map names, which bpftool does not print, and the space that old versions print before a
 * four-digit slot.
 */
function lines(text: string): string[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/ <[^>]*>$/, '').trimStart());
}

/** One program with all of these forms. */
function showcase(forms: readonly Form[]): Item[] {
  return [
    mov(r6, r1),
    ...forms.flatMap((form, index) => exercise(form, `next${index}`, 'subprogram')),
    ...[loadMap(r1, counts), callSubprogram('subprogram'), call(ktimeGetNs), mov(r0, 0), exit()],
    ...[label('subprogram'), mov(r0, 0), exit()],
  ];
}

test.skipIf(noBpftool(), 'every supported instruction prints as in bpftool', () => {
  const bpftoolKnows = bpftoolSupport(execFileSync(BPFTOOL, ['version'], { encoding: 'utf8' }));
  const known = allForms().filter((form) => knowsForm(kernel as Kernel, form) && bpftoolKnows(form));
  const taken = known.filter((form) => {
    if (form.flow === 'exit' || form.flow === 'call') return form.name === 'callSubprogram';
    const program = load(showcase([form]));
    program?.close();
    return program !== undefined;
  });
  assert.ok(taken.length > 120, `only ${taken.length} forms are supported`);
  const program = load(showcase(taken)) as Descriptor;
  const id = String(idOf(program));
  const { stdout, stderr } = dump(id);
  const theirs = bpftool('id', id);
  program.close();
  assert.is(stderr, '');
  assert.equal(lines(stdout), lines(theirs));
  assert.match(stdout, /= map\[id:\d+\] <counts>\n/);
  assert.match(stdout, /call pc\+\d+#bpf_prog_[0-9a-f]+/);
});

/** Compares every sample, but only every 8th in a slow guest. */
const STEP = inGuest ? 8 : 1;

test.skipIf(needsRoot, "every sample prints as in the kernel's verifier", () => {
  let compared = 0;
  for (const { call: words } of SAMPLES.filter((_, i) => i % STEP === 0)) {
    const instruction = construct(words);
    const form = formOf(instruction) as Form;
    // A kernel may support an instruction without a text for it.
    const text = isReleased(form.since) ? kernelText(instruction) : undefined;
    // The kernel has no name for helpers newer than itself.
    if (text === undefined || text.includes('call unknown#')) continue;
    assert.is(disassemble(instruction), text, words);
    compared++;
  }
  assert.ok(compared > 1000 / STEP, `only ${compared} compared`);
});

/** BTF with one function and two source lines (Linux 5.0). */
function withLines(): RawOptions {
  const writer = new BtfWriter();
  const int = writer.int('int', 4, 1);
  const context = writer.pointer(
    writer.const(writer.struct('__sk_buff', 4, [{ name: 'len', type: int, bits: 0 }])),
  );
  const parameters = {
    skb: context,
    kind: writer.enum('kind', 4, { A: 0 }),
    count: writer.typedef('u32', int),
    name: writer.pointer(writer.volatile(writer.int('char', 1, 1))),
    callback: writer.pointer(writer.prototype(int, { first: int })),
  };
  const id = writer.func('tsbpf_with_lines', writer.prototype(int, parameters));
  const line = (slot: number, text: string, number: number, column: number): number[] => [
    slot,
    writer.string('dir/source.ts'),
    writer.string(text),
    (number << 10) | column,
  ];
  const lines = [...line(0, '  const answer = 7;', 41, 3), ...line(1, 'return answer;', 42, 5)];
  return { types: { writer, functions: [[0, id]] }, lines };
}

test.skipIf(noBpftool(), 'functions and source lines print as in bpftool', () => {
  const program = load([mov(r0, 7), exit()], withLines()) as Descriptor;
  const id = String(idOf(program));
  const { stdout } = dump(id);
  const theirs = bpftool('id', id, 'linum');
  program.close();
  assert.equal(lines(stdout), lines(theirs));
  assert.match(stdout, /^int tsbpf_with_lines\(/);
  assert.match(stdout, /^; const answer = 7; \[file:dir\/source\.ts line_num:41 line_col:3\]$/m);
});

test.skipIf(
  needsRoot || sameOnEveryKernel,
  'hostile names in a program stay on their line and move no cursor',
  () => {
    const writer = new BtfWriter();
    // The kernel accepts any bytes in names of types, source lines and file names.
    const int = writer.int(HOSTILE, 4, 1);
    const id = writer.func('tsbpf_hostile', writer.prototype(int, { skb: writer.pointer(int) }));
    const [file, text] = [writer.string(HOSTILE), writer.string(`\tint\tx; ${HOSTILE}`)];
    const program = load([mov(r0, 7), exit()], {
      types: { writer, functions: [[0, id]] },
      lines: [0, file, text, (41 << 10) | 3],
    });
    assert.ok(program, 'the kernel accepts the program');
    const { stdout, stderr, status } = dump(String(idOf(program)));
    program.close();
    assert.equal({ status, stderr }, { status: 0, stderr: '' });
    assertSafe(stdout, 'dump');
    assert.is(
      stdout,
      `${ESCAPED} tsbpf_hostile(${ESCAPED} * skb):\n; int\tx; ${ESCAPED} [file:${ESCAPED} line_num:41 line_col:3]\n` +
        '   0: (b7) r0 = 7\n   1: (95) exit\n',
    );
  },
);

test.skipIf(
  needsRoot || sameOnEveryKernel,
  'a program is found by its name, unless the name is ambiguous',
  () => {
    const program = load([mov(r0, 0), exit()], { name: 'tsbpf.alone' }) as Descriptor;
    const found = dump('tsbpf.alone');
    assert.is(found.stdout, '   0: (b7) r0 = 0\n   1: (95) exit\n');
    assert.is(found.status, 0);
    const twin = load([mov(r0, 0), exit()], { name: 'tsbpf.alone' }) as Descriptor;
    const twice = dump('tsbpf.alone');
    assert.is(twice.status, 1);
    assert.match(
      twice.stderr,
      /^tsbpf: several programs are named 'tsbpf\.alone'; select one by its id: \d+ or \d+\n$/,
    );
    program.close();
    twin.close();
  },
);

test.skipIf(needsRoot || sameOnEveryKernel, 'with -x an lddw prints both slots', () => {
  const program = load([lddw(r0, 2n ** 32n), exit()]) as Descriptor;
  const { stdout } = dump('-x', String(idOf(program)));
  program.close();
  assert.is(
    stdout,
    '   0: (18) r0 = 0x100000000\n       18 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00\n   2: (95) exit\n       95 00 00 00 00 00 00 00\n',
  );
});

test.skipIf(needsRoot || sameOnEveryKernel, 'asm reads the output of dump, helpers by name', () => {
  const items = [
    ...[loadMap(r1, counts), mov(r6, r1), callSubprogram('two'), call(getCurrentPidTgid), mov(r0, 0), exit()],
    ...[label('two'), lddw(r0, 2n ** 32n), exit()],
  ];
  const program = load(items, { type: RAW_TRACEPOINT }) as Descriptor;
  const asm = (input: string) =>
    spawnSync(process.execPath, [COMMAND, 'asm', '-f', 'text', '-'], { input, encoding: 'utf8' });
  const read = asm(dump('-x', String(idOf(program))).stdout);
  program.close();
  assert.is(read.stderr, '');
  const texts = [...read.stdout.matchAll(/\([0-9a-f]{2}\) (.*)$/gm)].map(([, text]) => text);
  assert.equal(
    texts.map((text = '') => text.replace(/id:\d+/, 'id:7')),
    [
      'r1 = map[id:7]',
      'r6 = r1',
      'call pc+3',
      'call bpf_get_current_pid_tgid#14',
      'r0 = 0',
      'exit',
      'r0 = 0x100000000',
      'exit',
    ],
  );
});

test.skipIf(needsRoot || sameOnEveryKernel, 'a missing program is reported in one line', () => {
  for (const [program, message] of [
    ['4294967295', 'no program has the id 4294967295; bpftool prog lists the loaded programs'],
    ['no_such_program', "no program is named 'no_such_program'; bpftool prog lists the loaded programs"],
    [
      '/sys/fs/bpf/tsbpf/nothing',
      /(nothing is pinned at|cannot open the program pinned at) \/sys\/fs\/bpf\/tsbpf\/nothing/,
    ],
  ] as const) {
    const { status, stderr } = dump(program);
    assert.is(status, 1);
    assert.match(stderr, typeof message === 'string' ? new RegExp(`^tsbpf: ${message}\n$`) : message);
  }
});

const noBpffs = needsRoot || (inGuest ? false : 'this machine is not a guest of the lab');

test.skipIf(noBpffs, 'a pinned program is found by its path', () => {
  const program = load([mov(r0, 3), exit()]) as Descriptor;
  const path = allocate(64);
  path.set(Buffer.from('/sys/fs/bpf/tsbpf_dump'));
  const pinned = new Attr((kernel as Kernel).syscalls, 16).pointer(0, path).u32(8, program.fd).send(OBJ_PIN);
  assert.is(pinned, 0);
  program.close();
  const { stdout } = dump('/sys/fs/bpf/tsbpf_dump');
  rmSync('/sys/fs/bpf/tsbpf_dump');
  assert.is(stdout, '   0: (b7) r0 = 3\n   1: (95) exit\n');
});
const OBJ_PIN = 6;

test.skipIf(needsRoot, 'the program list includes loaded programs and names their maps', () => {
  const program = load([loadMap(r1, counts), mov(r0, 0), exit()]) as Descriptor;
  const id = idOf(program);
  assert.ok([...programIds(kernel as Kernel)].includes(id));
  assert.equal([...readLoadedProgram(kernel as Kernel, { id }).maps.values()], ['counts']);
  program.close();
});

test.run();
