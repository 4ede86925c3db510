/** System call arguments, as programs at entry hooks read them. */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { perfEventArray } from '../../src/asm/events.ts';
import { getCurrentPidTgid } from '../../src/asm/helpers.ts';
import { kprobe, rawTracepoint, tpBtf } from '../../src/asm/hooks.ts';
import { s64, struct, u64n } from '../../src/asm/layout.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import { target } from '../../src/asm/target.ts';
import { kprobesUnsupportedReason } from '../../src/loader/kprobe-events.ts';
import { Session } from '../../src/loader/session.ts';
import { needsRoot, suite } from '../harness.ts';
import { here } from './tracer.ts';

const test = suite('live/system-calls', { seconds: 30 });

const needsTypes = needsRoot || (here.btf ? false : 'needs BTF');
const needsKprobes = needsRoot || (kprobesUnsupportedReason(here)?.message ?? false);
/** pwrite64(fd, buf, count, pos). On x64 the fourth argument is in another register than for functions. */
const [PWRITE64, SYMBOL] =
  process.arch === 'arm64' ? [68, '__arm64_sys_pwrite64'] : [18, '__x64_sys_pwrite64'];

const Write = struct({ fd: u64n, count: u64n, position: u64n, number: s64 });
const events = perfEventArray('events', Write);

/** Sends the arguments of this process's call. */
function send(b: Builder): void {
  b.keep(b.context);
  const registers = b.kernel('pt_regs', b.keep(b.arg(0)));
  b.if(b.call(getCurrentPidTgid).rsh(32).ne(process.pid), () => b.exit());
  const { fd, count, position } = registers.systemCallArguments({ count: 2, fd: 0, position: 3 });
  const write = b.stack(Write);
  write.fd.set(fd);
  write.count.set(count);
  write.position.set(position);
  write.number.set(registers.systemCallNumber());
  b.output(events, write);
}

function sendPwrite(b: Builder): void {
  b.if(b.arg(1).ne(PWRITE64), () => b.exit());
  send(b);
}

for (const [where, make, reason] of [
  ['raw_tracepoint sys_enter', () => rawTracepoint('sys_enter', target(process.arch), sendPwrite), needsRoot],
  ['tp_btf sys_enter', () => tpBtf('sys_enter', target(process.arch, here.btf), sendPwrite), needsTypes],
  ['a kprobe on the system call', () => kprobe(SYMBOL, target(process.arch), send), needsKprobes],
] as [string, () => ProgramSpec, string | false][])
  test.skipIf(reason, `${where} reads the arguments of pwrite64`, () => {
    const seen: unknown[] = [];
    const session = Session.open(
      { name: 'writes', programs: [make()], events },
      { kernel: here, onEvent: (event) => seen.push(event) },
    );
    const folder = mkdtempSync(join(tmpdir(), 'tsbpf-writes-'));
    const fd = openSync(join(folder, 'file'), 'w');
    try {
      writeSync(fd, Buffer.alloc(300), 7, 200, 2 ** 33);
      session.detach();
      assert.equal(seen, [{ fd, count: 200, position: 2 ** 33, number: BigInt(PWRITE64) }]);
    } finally {
      session.close();
      closeSync(fd);
      rmSync(folder, { recursive: true });
    }
  });

test('systemCallArguments needs a pt_regs and an index from 0 to 5', () => {
  const read = (struct: string, n: number) => () =>
    rawTracepoint('sys_enter', target('x64'), (b) => {
      b.kernel(struct, b.arg(0)).systemCallArguments({ wanted: n });
    });
  assert.throws(read('sock', 0), /^the arguments of a system call are in a pt_regs, and this is a sock \(/);
  assert.throws(read('pt_regs', 6), /^a system call has no argument 6: they are 0 to 5 \(/);
});

test.run();
