import * as assert from 'uvu/assert';
import type { Attachment } from '../../src/asm/program.ts';
import { Errno } from '../../src/loader/errno.ts';
import { KernelError, UnsupportedError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { supports, unsupportedReason } from '../../src/loader/probe.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/probe');

const LOAD = 5;
const TRACING = 26;
const tpBtf: Attachment = { kind: 'tp_btf', tracepoint: 'sched_switch', btfId: 4711 };
const raw = (tracepoint: string): Attachment => ({ kind: 'raw_tracepoint', tracepoint });

/** A kernel without tracing programs, and the types of all programs that a test loads. */
function withoutTracing(): [FakeSyscalls, number[]] {
  const fake = new FakeSyscalls();
  const types: number[] = [];
  fake.answers.set(LOAD, (attr) => {
    types.push(attr.getUint32(0, true));
    return types.at(-1) === TRACING ? -Errno.EINVAL : undefined;
  });
  return [fake, types];
}

test('each program type is probed once, and nothing stays open', () => {
  const [fake, types] = withoutTracing();
  const kernel = new Kernel(fake);
  assert.is(supports(kernel, raw('sched_switch')), true);
  assert.is(supports(kernel, raw('another')), true);
  assert.is(types.length, 1);
  assert.is(supports(kernel, tpBtf), false);
  const asked = types.length;
  assert.is(supports(kernel, tpBtf), false);
  assert.is(types.length, asked);
  assert.match(unsupportedReason(kernel, tpBtf)?.message ?? '', /load the program 'probe'.*EINVAL/);
  assert.is(fake.open.size, 0);
});

test('without kprobes no program is loaded as a probe', () => {
  const [fake, types] = withoutTracing();
  fake.files.delete('/sys/bus/event_source/devices/kprobe/type');
  const error = unsupportedReason(new Kernel(fake), { kind: 'kprobe', symbol: 'tcp_v4_connect' });
  assert.instance(error, UnsupportedError);
  assert.is((error as UnsupportedError).since, '4.1');
  assert.equal(types, []);
});

test('an inconclusive probe is repeated', () => {
  for (const errno of [Errno.EAGAIN, Errno.ENOMEM, Errno.EMFILE]) {
    const fake = new FakeSyscalls();
    const kernel = new Kernel(fake);
    const attachment = { kind: 'raw_tracepoint', tracepoint: 'sys_enter' } as const;
    fake.answers.set(LOAD, () => -errno);
    assert.ok(unsupportedReason(kernel, attachment) instanceof KernelError);
    fake.answers.delete(LOAD);
    assert.is(supports(kernel, attachment), true);
  }
});

test.run();
