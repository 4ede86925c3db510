/** Pointers to kernel structs: which fields are read together, and where pointers lead. */
import * as assert from 'uvu/assert';
import { Btf } from '../../src/asm/btf.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { rawTracepoint, tpBtf } from '../../src/asm/hooks.ts';
import { chars, struct, u32 } from '../../src/asm/layout.ts';
import { target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';
import { BtfWriter } from './btf-writer.ts';
import { textsOf } from './texts.ts';

const test = suite('asm/kernel-pointer');

/** struct task with fields at both ends, a pointer to its own type, and a void pointer. */
function kernelWithTasks() {
  const btf = new BtfWriter();
  const number = btf.int('unsigned int', 4);
  const name = btf.array(btf.int('char', 1), 16);
  const task = name + 3;
  const toTask = btf.pointer(task);
  const toVoid = btf.pointer(0);
  btf.struct('task', 1000, [
    { name: 'state', type: number, bits: 0 },
    { name: 'pid', type: number, bits: 8 * 68 },
    { name: 'tgid', type: number, bits: 8 * 72 },
    { name: 'parent', type: toTask, bits: 8 * 80 },
    { name: 'stack', type: toVoid, bits: 8 * 88 },
    { name: 'comm', type: name, bits: 8 * 800 },
  ]);
  btf.typedef('btf_trace_exit', btf.pointer(btf.prototype(0, { data: toVoid, task: toTask })));
  return target('x64', Btf.parse(btf.blob()));
}

const on = kernelWithTasks();
const Pair = struct({ pid: u32, tgid: u32, comm: chars(16) });

/** The code of a body on a raw tracepoint, which reads through pointers by probe. */
const probed = (body: (b: Builder) => void) => textsOf(rawTracepoint('exit', on, body).instructions);
const calls = (lines: readonly string[]) => lines.filter((line) => line.startsWith('call'));

test('fields of a kept pointer with more than 64 bytes in between are read separately', () => {
  const lines = probed((b) => {
    const task = b.kernel('task', b.keep(b.arg(0)));
    const { pid, tgid, comm } = task.fields({ comm: 'comm', pid: 'pid', tgid: 'tgid' });
    const pair = b.stack(Pair);
    pair.pid.set(pid);
    pair.tgid.set(tgid);
    pair.comm.set(comm);
  });
  assert.equal(lines.slice(0, 13), [
    'r6 = *(u64 *)(r1 +0)',
    'r3 = r6',
    'r3 += 68',
    'r1 = r10',
    'r1 += -12',
    'r2 = 8',
    'call bpf_probe_read_kernel#113',
    'r3 = r6',
    'r3 += 800',
    'r1 = r10',
    'r1 += -32',
    'r2 = 16',
    'call bpf_probe_read_kernel#113',
  ]);
  // The three fields, from two copies.
  assert.equal(lines.slice(13, 15), ['r0 = *(u32 *)(r10 -12)', '*(u32 *)(r10 -56) = r0']);
  assert.equal(lines.slice(15, 17), ['r0 = *(u32 *)(r10 -8)', '*(u32 *)(r10 -52) = r0']);
  assert.equal(lines.slice(17, 19), ['r0 = *(u64 *)(r10 -32)', '*(u64 *)(r10 -48) = r0']);
});

test('fields with up to 64 bytes in between are read together', () => {
  const lines = probed((b) => {
    b.keep(b.kernel('task', b.arg(0))).fields({ state: 'state', pid: 'pid' });
  });
  assert.is(calls(lines).length, 1);
  assert.ok(lines.includes('r2 = 72'), lines.join('; '));
});

test('fields of a temporary pointer are read together, because the first call clobbers it', () => {
  const lines = probed((b) => {
    b.kernel('task', b.arg(0)).fields({ pid: 'pid', state: 'state', stack: 'stack' });
  });
  assert.is(calls(lines).length, 1);
  assert.ok(lines.includes('r2 = 96'), lines.join('; '));
});

test('if the stack has no room for a copy, the error tells how to need less', () => {
  assert.throws(
    () => probed((b) => void b.kernel('task', b.arg(0)).fields({ pid: 'pid', comm: 'comm' })),
    /^no stack space for copy of task of 748 bytes: 512 of 512 bytes are free\. keep\(\) the pointer: then fields far apart are copied apart/,
  );
});

test('follow() reads a pointer, and a probe reads its target', () => {
  const lines = probed((b) => {
    b.kernel('task', b.arg(0)).follow('parent').fields({ tgid: 'tgid' });
  });
  assert.equal(lines.slice(0, 13), [
    'r0 = *(u64 *)(r1 +0)',
    'r3 = r0',
    'r3 += 80',
    'r1 = r10',
    'r1 += -8',
    'r2 = 8',
    'call bpf_probe_read_kernel#113',
    'r0 = *(u64 *)(r10 -8)',
    'r3 = r0',
    'r3 += 72',
    'r1 = r10',
    'r1 += -16',
    'r2 = 4',
  ]);
});

test('follow() of a typed pointer is a load, but its target is read by probe', () => {
  const { instructions } = tpBtf('exit', on, (b) => {
    b.kernel('task', b.arg(0)).follow('parent').fields({ tgid: 'tgid' });
  });
  const lines = textsOf(instructions);
  assert.equal(lines.slice(0, 4), ['r0 = *(u64 *)(r1 +0)', 'r2 = *(u64 *)(r0 +80)', 'r3 = r2', 'r3 += 72']);
  assert.is(calls(lines).length, 1);
});

test('follow() takes the struct from the types, and refuses pointers to other types', () => {
  const follow = (path: string) => () =>
    probed((b) => assert.is(b.kernel('task', b.arg(0)).follow(path).struct, 'task'));
  follow('parent')();
  assert.throws(follow('pid'), /^task.pid is no pointer \(its kind: int\)/);
  assert.throws(follow('stack'), /^task.stack points to nothing that has fields/);
  assert.throws(follow('parnt'), /no member 'parnt'; nearest: parent/);
});

test('a cast pointer is read by probe, because the verifier does not know its new type', () => {
  const read = (asTask: boolean) => {
    const { instructions } = tpBtf('exit', on, (b) => {
      const task = b.kernel('task', b.arg(0));
      (asTask ? task : task.cast('task')).fields({ pid: 'pid' }).pid.get();
    });
    return textsOf(instructions);
  };
  assert.equal(read(true).slice(0, 2), ['r0 = *(u64 *)(r1 +0)', 'r2 = *(u32 *)(r0 +68)']);
  assert.equal(calls(read(false)), ['call bpf_probe_read_kernel#113']);
});

test('a pointer already in its argument register is not moved', () => {
  const lines = probed((b) => {
    const [, , third] = [b.arg(0).get(), b.arg(0).get(), b.arg(0).get()];
    b.kernel('task', third).fields({ pid: 'pid' });
  });
  assert.equal(lines.slice(2, 4), ['r3 = *(u64 *)(r1 +0)', 'r3 += 68']);
});

test('system call arguments are read from pt_regs, without types', () => {
  const lines = textsOf(
    rawTracepoint('sys_enter', target('x64'), (b) => {
      const { fd, count } = b.kernel('pt_regs', b.arg(0)).systemCallArguments({ fd: 0, count: 2 });
      b.value(fd);
      b.value(count);
    }).instructions,
  );
  // di and dx are at offsets 112 and 96.
  assert.equal(lines.slice(1, 6), ['r3 = r0', 'r3 += 96', 'r1 = r10', 'r1 += -24', 'r2 = 24']);
  assert.equal(lines.slice(7, 9), ['r0 = *(u64 *)(r10 -8)', 'r1 = *(u64 *)(r10 -24)']);
});

test('system calls have six arguments, which only pt_regs has', () => {
  const read = (struct: string, n: number) => () =>
    rawTracepoint('sys_enter', on, (b) => {
      b.kernel(struct, b.arg(0)).systemCallArguments({ n });
    });
  read('pt_regs', 5)();
  assert.throws(read('pt_regs', 6), /^a system call has no argument 6: they are 0 to 5/);
  assert.throws(read('task', 0), /^the arguments of a system call are in a pt_regs, and this is a task/);
});

for (const [architecture, load] of [
  ['x64', 'r3 += 120'],
  ['arm64', 'r3 += 280'],
] as const)
  test(`the number of a system call is read from pt_regs, without types: ${architecture}`, () => {
    const at = (struct: string) => () =>
      textsOf(
        rawTracepoint('sys_enter', target(architecture), (b) => {
          b.if(b.kernel(struct, b.arg(0)).systemCallNumber().eq(42), () => b.exit());
        }).instructions,
      );
    assert.ok(at('pt_regs')().includes(load), at('pt_regs')().join('\n'));
    assert.throws(at('task'), /^the number of a system call is in a pt_regs, and this is a task/);
  });

test.run();
