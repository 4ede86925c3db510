/** Program types against the numbers of the kernel's interface (include/uapi/linux/bpf.h). */
import * as assert from 'uvu/assert';
import { PROGRAM_TYPES } from '../../src/asm/program-types.ts';
import { suite } from '../harness.ts';

const test = suite('asm/program-types');

test('each program type has its numbers', () => {
  const numbers = Object.entries(PROGRAM_TYPES).map(([kind, { number, expectedAttachType }]) => [
    kind,
    number,
    expectedAttachType,
  ]);
  assert.equal(numbers, [
    ['kprobe', 2, undefined], // BPF_PROG_TYPE_KPROBE
    ['kretprobe', 2, undefined],
    ['fentry', 26, 24], // BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY
    ['fexit', 26, 25], // BPF_TRACE_FEXIT
    ['tp_btf', 26, 23], // BPF_TRACE_RAW_TP
    ['raw_tracepoint', 17, undefined], // BPF_PROG_TYPE_RAW_TRACEPOINT
    ['tracepoint', 5, undefined], // BPF_PROG_TYPE_TRACEPOINT
  ]);
});

test('what each program returns by default, and what it must return', () => {
  const results = Object.entries(PROGRAM_TYPES).map(([kind, { result, mustReturn }]) => [
    kind,
    result,
    mustReturn,
  ]);
  assert.equal(results, [
    ['kprobe', 0, undefined],
    ['kretprobe', 0, undefined],
    ['fentry', 0, 0],
    ['fexit', 0, 0],
    ['tp_btf', 0, undefined],
    ['raw_tracepoint', 0, undefined],
    ['tracepoint', 1, undefined],
  ]);
});

test.run();
