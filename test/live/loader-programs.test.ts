import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { exit, ldx, mov } from '../../src/asm/constructors.ts';
import { u64 } from '../../src/asm/layout.ts';
import { capture } from '../../src/asm/position.ts';
import type { Attachment, ProgramSpec } from '../../src/asm/program.ts';
import { r0, r1, r2 } from '../../src/asm/registers.ts';
import {
  NoSuchSymbolError,
  SymbolError,
  UnsupportedError,
  UntraceableSymbolError,
  VerifierError,
} from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { kprobesUnsupportedReason } from '../../src/loader/kprobe-events.ts';
import { attach } from '../../src/loader/link.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { unsupportedReason } from '../../src/loader/probe.ts';
import type { Program } from '../../src/loader/program.ts';
import { Session } from '../../src/loader/session.ts';
import { renderVerifierError } from '../../src/loader/verifier/report.ts';
import { needsRoot, suite } from '../harness.ts';

const test = suite('live/loader-programs');

const raw: Attachment = { kind: 'raw_tracepoint', tracepoint: 'sys_enter' };
const kprobe: Attachment = { kind: 'kprobe', symbol: 'tcp_v4_connect' };
const kernel = needsRoot ? undefined : new Kernel();

function load(
  attachment: Attachment,
  instructions: ProgramSpec['instructions'] = [mov(r0, 0), exit()],
): Program {
  const spec: ProgramSpec = { name: 'tsbpf.test', attachment, instructions };
  return loadProgram(kernel as Kernel, spec, assemble(instructions), new Map());
}

/** The attachment of a tp_btf program; undefined if the kernel has no BTF. */
function tpBtf(tracepoint: string): Attachment | undefined {
  const btfId = kernel?.btf?.find('typedef', `btf_trace_${tracepoint}`);
  return btfId === undefined ? undefined : { kind: 'tp_btf', tracepoint, btfId };
}

/** The attachment of an fentry program; without an id if the kernel has no BTF. */
function fentry(symbol: string): Attachment {
  return { kind: 'fentry', symbol, btfId: kernel?.btf?.find('func', symbol) };
}

/** The attachment of an fexit program. */
function fexit(symbol: string): Attachment {
  return { ...fentry(symbol), kind: 'fexit' } as Attachment;
}

const needsFentry =
  needsRoot || (unsupportedReason(kernel as Kernel, fentry('tcp_v4_connect'))?.message ?? false);
const needsTpBtf = needsRoot || (tpBtf('sys_enter') ? false : 'this kernel has no BTF');
const needsKprobes =
  needsRoot || (kernel && kprobesUnsupportedReason(kernel) ? 'this kernel has no kprobes' : false);
const needsNoKprobes = needsRoot || (needsKprobes ? false : 'this kernel has kprobes');

test.skipIf(needsRoot, 'a program has an id and, since 5.12, a count of missed runs', () => {
  const program = load(raw);
  const { id, recursionMisses } = program.info();
  assert.ok(id > 0);
  assert.ok(recursionMisses === undefined || recursionMisses === 0);
  program.close();
  assert.throws(() => program.info(), /after it was closed/);
});

for (const [name, attachment, reason] of [
  ['raw_tracepoint', raw, needsRoot],
  ['tp_btf', tpBtf('sys_enter'), needsTpBtf],
  ['kprobe', kprobe, needsKprobes],
  ['kretprobe', { ...kprobe, kind: 'kretprobe' }, needsKprobes],
  ['fentry', fentry('tcp_v4_connect'), needsFentry],
  ['fexit', fexit('tcp_v4_connect'), needsFentry],
] as const)
  test.skipIf(reason, `${name}: a link stays attached without its program, until it is closed`, () => {
    assert.is(unsupportedReason(kernel as Kernel, attachment as Attachment), undefined);
    const program = load(attachment as Attachment);
    const link = attach(kernel as Kernel, program);
    program.close();
    link.close();
  });

test.skipIf(needsRoot, 'kprobe programs load with or without kprobes', () => {
  load(kprobe, [ldx(u64, r2, r1, 112), mov(r0, 0), exit()]).close();
});

test.skipIf(needsNoKprobes, 'attaching a kprobe on a kernel without kprobes throws UnsupportedError', () => {
  const program = load(kprobe);
  assert.throws(
    () => attach(kernel as Kernel, program),
    (error: unknown) => error instanceof UnsupportedError,
  );
  assert.instance(unsupportedReason(kernel as Kernel, kprobe), UnsupportedError);
  program.close();
});

for (const [attachment, reason] of [
  [{ kind: 'raw_tracepoint', tracepoint: 'no_such_thing' }, needsRoot],
  [{ kind: 'kprobe', symbol: 'no_such_thing' }, needsKprobes],
] as const)
  test.skipIf(reason, `a ${attachment.kind} on a missing symbol throws NoSuchSymbolError`, () => {
    const program = load(attachment);
    assert.throws(
      () => attach(kernel as Kernel, program),
      (error: unknown) => error instanceof NoSuchSymbolError && error.symbol === 'no_such_thing',
    );
    program.close();
  });

for (const [name, attachment, reason] of [
  ['sched_switch', { kind: 'raw_tracepoint', tracepoint: 'shed_switch' }, needsRoot],
  ['tcp_v4_connect', { kind: 'kprobe', symbol: 'tcp_v4_conect' }, needsKprobes],
] as const)
  test.skipIf(reason, `a session suggests names for a misspelled ${attachment.kind}`, () => {
    const spec: ProgramSpec = { name: 'tsbpf.test', attachment, instructions: [mov(r0, 0), exit()] };
    assert.throws(
      () => Session.open({ name: 'test', programs: [spec] }, { kernel }),
      (error: Error) =>
        error instanceof NoSuchSymbolError && new RegExp(`; nearest: .*\\b${name}\\b`).test(error.message),
    );
  });

for (const [what, symbol, type] of [
  ['is missing', 'no_such_thing', NoSuchSymbolError],
  ['must not be traced', 'migrate_disable', SymbolError],
  ['tracing itself calls', '__bpf_prog_enter', UntraceableSymbolError],
  ['was freed after booting', 'start_kernel', UntraceableSymbolError],
] as const)
  test.skipIf(needsFentry, `a function that ${what} throws ${type.name}`, () => {
    assert.throws(
      () => attach(kernel as Kernel, load(fentry(symbol))),
      (error: unknown) => error instanceof type && error.symbol === symbol,
    );
  });

test.skipIf(needsRoot, 'a BTF id that is not a tracepoint is refused as tp_btf', () => {
  const error = unsupportedReason(kernel as Kernel, { kind: 'tp_btf', tracepoint: 'none', btfId: 1 });
  assert.match(error?.message ?? '', /load the program 'probe'/);
});

test.skipIf(needsRoot, 'a verifier error has its slot, reason and source line', () => {
  /** An instruction with a source position that reads outside the context. */
  const culprit = (): ProgramSpec['instructions'][number] => ({
    ...ldx(u64, r0, r1, -8),
    position: capture(culprit),
  });
  assert.throws(
    () => load(raw, [mov(r2, 0), culprit(), exit()]),
    (error: unknown) => {
      assert.instance(error, VerifierError);
      const refused = error as VerifierError;
      assert.is(refused.summary.slot, 1);
      assert.match(refused.message, /^cannot load the program 'tsbpf\.test': .*instruction 1: /);
      assert.is(refused.message.includes('\n'), false);
      const text = renderVerifierError(refused);
      assert.match(
        text,
        /loader-programs\.test\.[jt]s:\d+: \(\) => load\(raw, \[mov\(r2, 0\), culprit\(\), exit\(\)\]\),\n/,
      );
      assert.match(text, /\n {4}1: \(79\) r0 = \*\(u64 \*\)\(r1 -8\)/);
      return true;
    },
  );
});

test.skipIf(needsRoot, 'a log longer than the first buffer is fetched completely', () => {
  const many = Array.from({ length: 4000 }, (_, index) => mov(r2, index));
  assert.throws(
    () => load(raw, [...many, exit()]),
    (error: unknown) => {
      const { log, summary } = error as VerifierError;
      assert.ok(log.length > 65_536, `${log.length} bytes`);
      // At log level 2, requested before Linux 5.18, the log begins with the functions.
      assert.match(log, /^(func#0 @0\n)?0: .*\n/);
      assert.is(summary.slot, 4000);
      return true;
    },
  );
});

test.run();
