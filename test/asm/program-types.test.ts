/** Program types and their numbers in include/uapi/linux/bpf.h. */
import * as assert from 'uvu/assert';
import { PROGRAM_TYPES } from '../../src/asm/program-types.ts';
import { suite } from '../harness.ts';

const test = suite('asm/program-types');

test('each program type has its numbers, default result and required result', () => {
  const rows = Object.entries(PROGRAM_TYPES).map(
    ([kind, { number, expectedAttachType, result, mustReturn }]) => [
      kind,
      number,
      expectedAttachType,
      result,
      mustReturn,
    ],
  );
  assert.equal(rows, [
    ['kprobe', 2, undefined, 0, undefined], // BPF_PROG_TYPE_KPROBE
    ['kretprobe', 2, undefined, 0, undefined],
    ['kprobe_multi', 2, 42, 0, undefined], // BPF_TRACE_KPROBE_MULTI
    ['kretprobe_multi', 2, 42, 0, undefined],
    ['fentry', 26, 24, 0, 0], // BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY
    ['fexit', 26, 25, 0, 0], // BPF_TRACE_FEXIT
    ['lsm', 29, 27, 0, undefined], // BPF_PROG_TYPE_LSM, BPF_LSM_MAC
    ['tp_btf', 26, 23, 0, undefined], // BPF_TRACE_RAW_TP
    ['raw_tracepoint', 17, undefined, 0, undefined], // BPF_PROG_TYPE_RAW_TRACEPOINT
    ['tracepoint', 5, undefined, 1, undefined], // BPF_PROG_TYPE_TRACEPOINT
  ]);
});

test.run();
