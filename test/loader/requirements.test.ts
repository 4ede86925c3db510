/** What a session reports about the features that a tool needs, with a fake kernel. */
import * as assert from 'uvu/assert';
import { call, exit, gotol, label, mov } from '../../src/asm/constructors.ts';
import { getCurrentCgroupId, loop } from '../../src/asm/helpers.ts';
import type { Item } from '../../src/asm/instruction.ts';
import { u64 } from '../../src/asm/layout.ts';
import { array, globals, hash } from '../../src/asm/map.ts';
import { capture } from '../../src/asm/position.ts';
import type { Tool } from '../../src/asm/program.ts';
import { r0 } from '../../src/asm/registers.ts';
import { Errno } from '../../src/loader/errno.ts';
import { MissingFeaturesError, UnsupportedError, VerifierError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { Session } from '../../src/loader/session.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/requirements');

const [MAP_CREATE, PROG_LOAD] = [0, 5];
const GOTOL = 0x06;

function toolOf(instructions: readonly Item[], more: Partial<Tool> = {}): Tool {
  const attachment = { kind: 'raw_tracepoint', tracepoint: 'sys_enter' } as const;
  return { name: 'fake', programs: [{ name: 'on_call', attachment, instructions }], ...more };
}

/** An old kernel: no bpf_loop (the text of a number that it does not know), no gotol, no BPF_F_MMAPABLE. */
function oldKernel(): FakeSyscalls {
  const fake = new FakeSyscalls();
  fake.answers.set(MAP_CREATE, (attr) =>
    (attr.getUint32(16, true) & 0x400) === 0 ? undefined : -Errno.EINVAL,
  );
  fake.answers.set(PROG_LOAD, (attr) => {
    const bytes = fake.at(attr.getBigUint64(8, true));
    const slots = [...Array(bytes.length / 8).keys()].map((slot) => bytes.subarray(slot * 8, slot * 8 + 8));
    const calls = slots.some(([opcode, , , , id]) => opcode === 0x85 && id === loop.id);
    const jumps = slots.some(([opcode]) => opcode === GOTOL);
    const text = calls ? `invalid func unknown#${loop.id}` : jumps ? 'unknown opcode 06' : undefined;
    if (text === undefined) return undefined;
    if (attr.getUint32(24, true) > 0)
      fake.at(attr.getBigUint64(32, true)).set(Buffer.from(`${text}\nprocessed 1 insns\n\0`));
    return -Errno.EINVAL;
  });
  return fake;
}

const position = capture(capture);
const modern = (): Item[] => [mov(r0, 0), { ...call(loop), position }, gotol('out'), label('out'), exit()];

function thrown(fake: FakeSyscalls, tool: Tool): Error {
  try {
    Session.open(tool, { kernel: new Kernel(fake) }).close();
  } catch (error) {
    assert.is(fake.open.size, 0, 'nothing stays open');
    return error as Error;
  }
  throw new Error('the tool was opened');
}

test('a start that succeeds makes no call for features', () => {
  const fake = new FakeSyscalls();
  const counts = hash('counts', { key: u64, value: u64, maxEntries: 8 });
  const tool = toolOf([call(getCurrentCgroupId), mov(r0, 0), exit()], { maps: [counts] });
  const session = Session.open(tool, { kernel: new Kernel(fake) });
  assert.equal(
    fake.calls.filter((each) => each.startsWith('bpf')),
    ['bpf 0', 'bpf 5', 'bpf 17'],
  );
  session.close();
});

test('all missing features are reported at once, with their first kernels and source lines', () => {
  const tool = toolOf(modern(), { maps: [globals('stats', u64)] });
  const error = thrown(oldKernel(), tool);
  assert.instance(error, MissingFeaturesError);
  assert.instance(error, UnsupportedError);
  const { missing, since, message, cause, code } = error as MissingFeaturesError;
  assert.equal(
    missing.map((each) => [each.feature, each.since, each.user]),
    [
      ['map flag BPF_F_MMAPABLE', '5.5', "map 'stats'"],
      ['helper bpf_loop in raw_tracepoint programs', '5.17', "program 'on_call'"],
      ["instruction 'gotol out'", '6.6', "program 'on_call'"],
    ],
  );
  assert.is(since, '6.6');
  assert.is(code, 'ERR_MISSING_FEATURES');
  assert.match(
    message,
    /^the tool 'fake' needs 3 features that this kernel does not have: map flag BPF_F_MMAPABLE \(Linux 5\.5 and later\), map 'stats'; helper bpf_loop .* \(Linux 5\.17 and later\), program 'on_call' \(.*requirements\.test\.\w+:\d+\); instruction/,
  );
  assert.instance(cause, UnsupportedError, 'the error of the map');
});

test('a single missing helper explains the refusal of the verifier', () => {
  const error = thrown(oldKernel(), toolOf([call(loop), mov(r0, 0), exit()]));
  assert.instance(error, MissingFeaturesError);
  assert.match(error.message, /needs a feature that this kernel does not have: helper bpf_loop/);
  assert.instance(error.cause, VerifierError);
});

test('an error that names the only missing feature is not replaced', () => {
  const error = thrown(oldKernel(), toolOf([mov(r0, 0)], { programs: [], maps: [globals('stats', u64)] }));
  assert.instance(error, UnsupportedError);
  assert.not.instance(error, MissingFeaturesError);
});

test('the refusal of a program is not replaced if no feature is missing', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(PROG_LOAD, (attr) => {
    const bytes = fake.at(attr.getBigUint64(8, true));
    if (!bytes.includes(loop.id)) return undefined;
    if (attr.getUint32(24, true) > 0)
      fake.at(attr.getBigUint64(32, true)).set(Buffer.from('R0 !read_ok\nprocessed 1 insns\n\0'));
    return -Errno.EACCES;
  });
  const error = thrown(fake, toolOf([call(loop), mov(r0, 0), exit()]));
  assert.instance(error, VerifierError);
});

test('a missing permission is not explained by features', () => {
  const fake = oldKernel();
  fake.answers.set(MAP_CREATE, () => -Errno.EPERM);
  const error = thrown(fake, toolOf(modern(), { maps: [array('counts', { value: u64 })] }));
  assert.is(error.name, 'NotPermittedError');
});

test('declared features are asked for first, and reported with the derived ones', () => {
  const fake = oldKernel();
  fake.answers.set(24, () => -Errno.EINVAL);
  const tool = toolOf(modern(), { requires: [{ command: 'BPF_MAP_LOOKUP_BATCH' }, { mapType: 'hash' }] });
  const error = thrown(fake, tool) as MissingFeaturesError;
  assert.equal(
    error.missing.map(({ feature }) => feature),
    ['command BPF_MAP_LOOKUP_BATCH', 'helper bpf_loop in raw_tracepoint programs', "instruction 'gotol out'"],
  );
  assert.is(error.missing[0]?.user, undefined);
});

test('declared features that the kernel has, or that cannot be determined, do not stop the tool', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(24, () => -Errno.EPERM);
  fake.answers.set(22, () => -9);
  const requires = [{ command: 'BPF_MAP_LOOKUP_BATCH' }, { command: 'BPF_MAP_FREEZE' }] as const;
  Session.open(toolOf([mov(r0, 0), exit()], { requires }), { kernel: new Kernel(fake) }).close();
});

test.run();
