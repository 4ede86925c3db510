/** The builder: what each statement emits, and what it refuses. */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { Btf } from '../../src/asm/btf.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { add, call, ja, jeq, label, mov } from '../../src/asm/constructors.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import { perfEventArray } from '../../src/asm/events.ts';
import {
  getCurrentComm,
  getCurrentPidTgid,
  getSmpProcessorId,
  type Helper,
  ktimeGetNs,
  probeReadKernel,
  tracePrintk,
} from '../../src/asm/helpers.ts';
import { kprobe, rawTracepoint } from '../../src/asm/hooks.ts';
import { type Instruction, isLabel } from '../../src/asm/instruction.ts';
import {
  arrayOf,
  bytes,
  chars,
  s32,
  s64,
  struct,
  u8,
  u16,
  u16be,
  u32,
  u32be,
  u64,
} from '../../src/asm/layout.ts';
import { array, hash, programArray } from '../../src/asm/map.ts';
import { arrayOfMaps } from '../../src/asm/map-of-maps.ts';
import { JA } from '../../src/asm/opcodes.ts';
import { locate } from '../../src/asm/position.ts';
import { r0, r1, r2 } from '../../src/asm/registers.ts';
import { target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';
import { BtfWriter } from './btf-writer.ts';
import { emitted, errorMessage, program, x64 } from './built.ts';

const test = suite('asm/builder');

/** The emitted instructions without the common `r0 = 0; exit`. */
function statements(body: (b: Builder) => void, on = x64): string[] {
  return emitted(body, on)
    .slice(0, -2)
    .filter((line) => line !== 'exit:');
}

const key = hash('table', { key: u32, value: struct({ count: u64, name: chars(8) }), maxEntries: 8 });

// --- values ----------------------------------------------------------------------------------------

test('an empty program returns 0', () => {
  assert.equal(
    emitted(() => {}),
    ['r0 = 0', 'exit'],
  );
});

test('an argument is loaded again at each use', () => {
  assert.equal(
    statements((b) => {
      b.if(b.arg(1).eq(7), () => b.exit());
      b.if(b.arg(1).eq(8), () => b.exit());
    }),
    ['r0 = *(u64 *)(r1 +8)', 'if r0 == 0x7 goto exit', 'r0 = *(u64 *)(r1 +8)', 'if r0 == 0x8 goto exit'],
  );
});

test('kprobe arguments come from the registers of the calling convention', () => {
  const body = (b: Builder) => b.exit(b.arg(1).get());
  const first = (architecture: string) => {
    const [instruction] = assemble(
      kprobe('f', target(architecture), body).instructions.slice(0, 3),
    ).instructions;
    return instruction && disassemble(instruction.instruction);
  };
  assert.is(first('x64'), '(79) r0 = *(u64 *)(r1 +104)');
  assert.is(first('arm64'), '(79) r0 = *(u64 *)(r1 +8)');
  assert.throws(() => kprobe('f', x64, (b) => b.exit(b.arg(6).get())), /kprobe f: argument 6 cannot be read/);
});

test('operators change the register in place, one instruction each', () => {
  assert.equal(
    statements((b) => {
      const value = b.call(ktimeGetNs);
      value.add(1).sub(2).mul(3).div(4).mod(5).and(6).or(7).xor(8).lsh(9).rsh(10).asSigned().arsh(11);
    }),
    [
      'call bpf_ktime_get_ns#5',
      ...['r0 += 1', 'r0 -= 2', 'r0 *= 3', 'r0 /= 4', 'r0 %= 5', 'r0 &= 6', 'r0 |= 7', 'r0 ^= 8'],
      ...['r0 <<= 9', 'r0 >>= 10', 'r0 s>>= 11'],
    ],
  );
});

test('an operand in memory or a constant past 32 bits is loaded into the next free register', () => {
  assert.equal(
    statements((b) => {
      b.call(ktimeGetNs).sub(b.stack(u64, 5)).add(0x1_0000_0000n);
    }),
    [
      'call bpf_ktime_get_ns#5',
      '*(u64 *)(r10 -8) = 5',
      'r1 = *(u64 *)(r10 -8)',
      'r0 -= r1',
      'r1 = 0x100000000',
      'r0 += r1',
    ],
  );
});

test('a kept value moves to r6 and survives calls', () => {
  assert.equal(
    statements((b) => {
      const start = b.keep(b.call(ktimeGetNs));
      b.call(ktimeGetNs).sub(start);
    }),
    ['call bpf_ktime_get_ns#5', 'r6 = r0', 'call bpf_ktime_get_ns#5', 'r0 -= r6'],
  );
  assert.equal(
    statements((b) => {
      b.keep(b.arg(0));
    }),
    ['r6 = *(u64 *)(r1 +0)'],
  );
});

test('reading a temporary after a call names both lines', () => {
  const message = errorMessage((b) => {
    const value = b.call(ktimeGetNs);
    b.call(getCurrentPidTgid);
    value.add(1);
  });
  assert.match(message, /^bpf_ktime_get_ns\(\) of \S+builder\.test\.[jt]s:\d+ was a temporary in r0/);
  assert.match(
    message,
    /lost to bpf_get_current_pid_tgid at \S+builder\.test\.[jt]s:\d+: keep\(\) it before/,
  );
});

test('the context is a temporary, too', () => {
  const message = errorMessage((b) => {
    b.call(ktimeGetNs);
    b.arg(0).get();
  });
  assert.match(message, /^the context was a temporary in r1, lost to bpf_ktime_get_ns/);
  assert.equal(
    statements((b) => {
      b.keep(b.context);
      b.call(ktimeGetNs);
      b.arg(2).get();
    }),
    ['r6 = r1', 'call bpf_ktime_get_ns#5', 'r1 = *(u64 *)(r6 +16)'],
  );
});

test('a context kept in an arm is in its old register after it', () => {
  assert.equal(
    statements((b) => {
      b.if(b.arg(0).eq(1), () => b.stack(u64).set(b.keep(b.context)));
      b.stack(u64).set(b.arg(1));
    }).map((line) => line.replace(/^if .* goto/, 'if … goto')),
    [
      'r0 = *(u64 *)(r1 +0)',
      'if … goto end_1',
      'r6 = r1',
      '*(u64 *)(r10 -8) = r6',
      'end_1:',
      'r0 = *(u64 *)(r1 +8)',
      '*(u64 *)(r10 -8) = r0',
    ],
  );
  const calledIn = (arm: (b: Builder) => void) => (b: Builder) => {
    b.if(b.arg(0).eq(1), () => {
      b.keep(b.context);
      arm(b);
    });
    b.stack(u64).set(b.arg(1));
  };
  assert.match(
    errorMessage(calledIn((b) => b.call(ktimeGetNs))),
    /^the context was a temporary in r1, lost to bpf_ktime_get_ns/,
  );
});

test('a kept context can be read in all arms, and kept again in one', () => {
  assert.equal(
    statements((b) => {
      b.keep(b.context);
      b.call(ktimeGetNs);
      b.if(
        b.arg(0).eq(1),
        () => b.stack(u64).set(b.keep(b.context)),
        () => b.stack(u64).set(b.arg(1)),
      );
      b.stack(u64).set(b.arg(2));
    }).filter((line) => /r[67]/.test(line)),
    [
      'r6 = r1',
      'r1 = *(u64 *)(r6 +0)',
      'r7 = r6',
      '*(u64 *)(r10 -8) = r7',
      'r1 = *(u64 *)(r6 +8)',
      'r1 = *(u64 *)(r6 +16)',
    ],
  );
});

test('a fifth kept value is refused, and the error lists the holders', () => {
  const message = errorMessage((b) => {
    for (let n = 0; n < 5; n++) b.keep(b.arg(n));
  });
  assert.match(message, /^no kept register is free/);
  for (const register of ['r6: argument 0', 'r7: argument 1', 'r8: argument 2', 'r9: argument 3'])
    assert.ok(message.includes(register), message);
});

test('a seventh temporary is refused', () => {
  assert.match(
    errorMessage((b) => {
      for (let n = 0; n < 6; n++) b.arg(n).get();
    }),
    /^no temporary register is free/,
  );
});

test('kept registers of a block are free after it', () => {
  assert.equal(
    statements((b) => {
      b.if(b.arg(0).eq(1), () => b.stack(u64).set(b.keep(b.arg(1))));
      b.keep(b.arg(2));
    }).filter((line) => line.startsWith('r6')),
    ['r6 = *(u64 *)(r1 +8)', 'r6 = *(u64 *)(r1 +16)'],
  );
});

test('a value of a block expires with the block', () => {
  assert.match(
    errorMessage((b) => {
      let value = b.value(1);
      b.if(value.eq(1), () => {
        value = b.keep(b.arg(1));
      });
      value.add(1);
    }),
    /^argument 1 of .* belongs to a block that has ended/,
  );
});

test('a temporary lost in one arm is lost after both, unless that arm ends', () => {
  const lossy = (ends: boolean) => (b: Builder) => {
    const value = b.arg(0).get();
    b.if(value.eq(0), () => {
      b.call(ktimeGetNs);
      if (ends) b.exit();
    });
    value.add(1);
  };
  assert.match(errorMessage(lossy(false)), /lost to bpf_ktime_get_ns/);
  assert.ok(statements(lossy(true)).includes('r0 += 1'));
});

// --- memory ----------------------------------------------------------------------------------------

test('scalars are stored by one instruction of their width', () => {
  const Data = struct({ a: u64, b: u32, c: u16, d: u8, e: u8 });
  assert.equal(
    statements((b) => {
      const data = b.stack(Data);
      data.a.set(-1n & 0xffff_ffff_ffff_ffffn);
      data.b.set(0xffff_ffff);
      data.c.set(2);
      data.d.set(3);
      data.e.set(b.arg(0).get().as(u8));
    }),
    [
      '*(u64 *)(r10 -16) = -1',
      '*(u32 *)(r10 -8) = -1',
      '*(u16 *)(r10 -4) = 2',
      '*(u8 *)(r10 -2) = 3',
      'r0 = *(u64 *)(r1 +0)',
      '*(u8 *)(r10 -1) = r0',
    ],
  );
});

test('a constant that does not fit its field is refused', () => {
  assert.match(
    errorMessage((b) => b.stack(struct({ port: u16 })).port.set(65_536)),
    /^65536 doesn't fit stack.port \(u16, 0 to 65535\)/,
  );
  assert.match(
    errorMessage((b) => b.stack(struct({ delta: s32 })).delta.set(2 ** 31)),
    /^2147483648 doesn't fit stack.delta \(s32, -2147483648 to 2147483647\)/,
  );
  assert.match(
    errorMessage((b) => b.stack(u64, -1)),
    /^-1 doesn't fit/,
  );
});

test('copies use the widest loads that both alignments allow', () => {
  const Packed = struct({ head: u32, rest: bytes(14) });
  assert.equal(
    statements((b) => {
      const from = b.stack(Packed);
      const to = b.stack(Packed);
      from.set(0);
      to.rest.set(from.rest);
    }),
    [
      ...['*(u64 *)(r10 -24) = 0', '*(u64 *)(r10 -16) = 0', '*(u32 *)(r10 -8) = 0'],
      ...['r0 = *(u32 *)(r10 -20)', '*(u32 *)(r10 -44) = r0'],
      ...['r0 = *(u64 *)(r10 -16)', '*(u64 *)(r10 -40) = r0'],
      ...['r0 = *(u16 *)(r10 -8)', '*(u16 *)(r10 -32) = r0'],
    ],
  );
});

test('a narrow field may be copied to a wider one, but not vice versa', () => {
  const Data = struct({ narrow: u16, wide: u32 });
  assert.equal(
    statements((b) => {
      const data = b.stack(Data);
      data.narrow.set(1);
      data.wide.set(data.narrow);
    }).slice(1),
    ['r0 = *(u16 *)(r10 -8)', '*(u32 *)(r10 -4) = r0'],
  );
  assert.match(
    errorMessage((b) => {
      const data = b.stack(Data);
      data.wide.set(1);
      data.narrow.set(data.wide);
    }),
    /^stack.wide \(u32, .*\) doesn't fit stack.narrow \(u16, .*\): narrow it on purpose with .as\(schema\)/,
  );
});

test('an update inserts or replaces: its flags are 0', () => {
  const table = hash('t', { key: u32, value: u64, maxEntries: 1 });
  const lines = statements((b) => b.update(table, 1, b.stack(u64, 1)));
  assert.ok(lines.includes('r4 = 0'), lines.join('; '));
});

test('memory read by a helper or map must be written; the error names the field', () => {
  const Data = struct({ id: u32, when: u64, comm: chars(16) });
  const table = hash('t', { key: u32, value: Data, maxEntries: 1 });
  const fill = (fields: (data: { id: { set(n: number): void } }, b: Builder) => void) => (b: Builder) => {
    const data = b.stack(Data);
    fields(data, b);
    b.update(table, 1, data);
  };
  assert.match(errorMessage(fill(() => {})), /^stack.id was never written \(byte 0 of stack\)/);
  assert.match(
    errorMessage(fill((data) => data.id.set(1))),
    /^the padding after stack.id was never written \(byte 4/,
  );
  assert.match(
    errorMessage((b) => {
      const data = b.stack(Data);
      data.set(0);
      const other = b.stack(Data);
      other.comm.set(data.comm);
      other.id.set(1);
      b.update(table, 1, other);
    }),
    /^the padding after stack.id/,
  );
  assert.match(
    errorMessage((b) => b.stack(u64).get()),
    /^stack was never written/,
  );
  const Outer = struct({ ns: u64, task: struct({ tid: u32, pid: u32 }) });
  assert.match(
    errorMessage((b) => {
      const outer = b.stack(Outer);
      outer.ns.set(1);
      outer.task.tid.set(2);
      b.update(hash('o', { key: u32, value: Outer, maxEntries: 1 }), 1, outer);
    }),
    /^stack\.task\.pid was never written \(byte 12/,
  );
});

test('memory written in one arm only is unwritten after both', () => {
  assert.match(
    errorMessage((b) => {
      const slot = b.stack(u64);
      b.if(b.arg(0).eq(1), () => slot.set(1));
      slot.get();
    }),
    /^stack was never written/,
  );
  assert.ok(
    statements((b) => {
      const slot = b.stack(u64);
      b.if(
        b.arg(0).eq(1),
        () => slot.set(1),
        () => slot.set(2),
      );
      slot.get();
    }).length > 0,
  );
});

test('a helper that fills memory initializes it', () => {
  assert.equal(
    statements((b) => {
      const comm = b.stack(chars(16));
      b.call(getCurrentComm, comm);
      b.stack(chars(16)).set(comm);
    }).slice(0, 6),
    [
      ...['*(u64 *)(r10 -16) = 0', '*(u64 *)(r10 -8) = 0'],
      ...['r1 = r10', 'r1 += -16', 'r2 = 16', 'call bpf_get_current_comm#16'],
    ],
  );
});

test('the stack has 512 bytes, and a block frees its part', () => {
  assert.match(
    errorMessage((b) => {
      b.stack(bytes(500));
      b.stack(bytes(16));
    }),
    /^no stack space for bytes\(16\): 8 of 512 bytes are free\. In use: bytes\(500\) \(\S+builder\.test\.[jt]s:\d+\)\. Reserve large memory in a block/,
  );
  const again = statements((b) => {
    for (const n of [1, 2]) b.if(b.arg(0).eq(n), () => b.stack(bytes(512)).set(0));
  });
  assert.is(again.filter((line) => line === '*(u64 *)(r10 -512) = 0').length, 2);
});

test('a global needs no lookup call, and atomicAdd changes it atomically', () => {
  const counters = array('counters', { value: struct({ seen: u64, full: u32 }) });
  assert.equal(
    statements((b) => b.global(counters).full.atomicAdd(1)),
    ['r0 = map[counters][0]+0', 'r2 = 1', 'lock *(u32 *)(r0 +8) += r2'],
  );
  assert.match(
    errorMessage((b) => b.global(array('c', { value: struct({ small: u16 }) })).small.atomicAdd(1)),
    /small has 2 bytes: an atomic addition needs 4 or 8/,
  );
});

for (const [what, schema, fault] of [
  [
    'a big-endian number',
    u32be,
    /x is big-endian: an atomic addition needs the host.s byte order \(.*builder\.test\.ts:\d+\)$/,
  ],
  ['text of 4 bytes', chars(4), /x is chars\(4\), not a number.* \(.*builder\.test\.ts:\d+\)$/],
  ['8 bytes', bytes(8), /x is bytes\(8\), not a number/],
  ['an array of 4 bytes', arrayOf(u8, 4), /x is array of 4 bytes, not a number/],
  ['an integer of 1 byte', u8, /x has 1 bytes: an atomic addition needs 4 or 8/],
] as const)
  test(`atomicAdd on ${what} is refused in any memory`, () => {
    const value = struct({ x: schema });
    const entry = hash('value', { key: u32, value, maxEntries: 1 });
    for (const emit of [
      (b: Builder) => b.stack(value).x.atomicAdd(1),
      (b: Builder) => b.global(array('value', { value })).x.atomicAdd(1),
      (b: Builder) => b.lookup(entry, 7, { found: ({ x }) => x.atomicAdd(1) }),
    ])
      assert.match(errorMessage(emit), fault);
  });

// --- conditions ------------------------------------------------------------------------------------

const comparisons = [
  ['eq', 'if r0 != 0x5', 'if r0 == 0x5'],
  ['ne', 'if r0 == 0x5', 'if r0 != 0x5'],
  ['gt', 'if r0 <= 0x5', 'if r0 > 0x5'],
  ['ge', 'if r0 < 0x5', 'if r0 >= 0x5'],
  ['lt', 'if r0 >= 0x5', 'if r0 < 0x5'],
  ['le', 'if r0 > 0x5', 'if r0 <= 0x5'],
] as const;

for (const [comparison, inverse, straight] of comparisons) {
  test(`${comparison}: the inverse skips an arm; an arm that only leaves becomes the jump`, () => {
    const over = statements((b) => b.if(b.arg(0).get()[comparison](5), () => b.stack(u64).set(1)));
    assert.ok(over[1]?.startsWith(inverse), over[1]);
    const leave = statements((b) => {
      b.if(b.arg(0).get()[comparison](5), () => b.exit());
      b.stack(u64).set(1);
    });
    assert.is(leave[1], `${straight} goto exit`);
  });
}

test('b.as views memory with another schema without instructions', () => {
  const Words = struct({ low: u64, high: u64 });
  assert.equal(
    statements((b) => {
      const comm = b.stack(chars(16));
      b.call(getCurrentComm, comm);
      const words = b.as(comm, Words);
      b.if(words.high.ne(0), () => b.exit());
      b.if(b.as(words, u16be).eq(0x6e6f), () => b.exit());
    }),
    [
      '*(u64 *)(r10 -16) = 0',
      '*(u64 *)(r10 -8) = 0',
      'r1 = r10',
      'r1 += -16',
      'r2 = 16',
      'call bpf_get_current_comm#16',
      'r1 = *(u64 *)(r10 -8)',
      'if r1 != 0x0 goto exit',
      'r1 = *(u16 *)(r10 -16)',
      'if r1 == 0x6f6e goto exit',
    ],
  );
});

test('b.as must not exceed the memory or its alignment', () => {
  assert.match(
    errorMessage((b) => b.as(b.stack(u32), u64)),
    /stack has 4 bytes, but the schema of as\(\) has 8/,
  );
  assert.match(
    errorMessage((b) => b.as(b.stack(struct({ a: u32, b: bytes(12) })).b, u64)),
    /stack\.b is at r10-12, but the schema needs an alignment of 8 bytes/,
  );
});

test('a bit test has no inverse and needs one more jump', () => {
  assert.equal(
    statements((b) => b.if(b.arg(0).bits(4), () => b.stack(u64).set(1))),
    [
      'r0 = *(u64 *)(r1 +0)',
      'if r0 & 0x4 goto then_2',
      'goto end_1',
      'then_2:',
      '*(u64 *)(r10 -8) = 1',
      'end_1:',
    ],
  );
});

test('two arms that continue need one more jump', () => {
  assert.equal(
    statements((b) => {
      const slot = b.stack(u64);
      b.if(
        b.arg(0).eq(1),
        () => slot.set(1),
        () => slot.set(2),
      );
      b.value(slot);
    }),
    [
      'r0 = *(u64 *)(r1 +0)',
      'if r0 != 0x1 goto else_2',
      '*(u64 *)(r10 -8) = 1',
      'goto end_1',
      'else_2:',
      '*(u64 *)(r10 -8) = 2',
      'end_1:',
      'r0 = *(u64 *)(r10 -8)',
    ],
  );
});

test('signed fields compare signed: s32 by its low half, s64 completely', () => {
  const Data = struct({ small: s32, large: s64 });
  const table = hash('t', { key: u32, value: Data, maxEntries: 1 });
  const compared = (field: 'small' | 'large') =>
    statements((b) =>
      b.lookup(table, 1, {
        found: (data) => b.if(data[field].lt(-1), () => b.exit(1)),
        missing: () => b.exit(),
      }),
    ).find((line) => /s[<>]/.test(line));
  assert.match(compared('small') ?? '', /^if w1 s>= 0xffffffff goto/);
  assert.match(compared('large') ?? '', /^if r1 s>= 0xffffffff goto/);
});

test('a narrow signed field is sign-extended as a value', () => {
  const table = hash('t', { key: u32, value: struct({ small: s32 }), maxEntries: 1 });
  const lines = statements((b) =>
    b.lookup(table, 1, { found: (data) => b.exit(data.small.get().add(1)), missing: () => b.exit() }),
  );
  assert.ok(
    lines.join('; ').includes('r1 = *(u32 *)(r0 +0); r1 <<= 32; r1 s>>= 32; r1 += 1'),
    lines.join('; '),
  );
});

test('big-endian fields: constants are swapped at assembly, values at run time', () => {
  const Data = struct({ port: u16be });
  const table = hash('t', { key: u32, value: Data, maxEntries: 1 });
  const lines = (use: (b: Builder, port: ReturnType<typeof portOf>) => void) =>
    statements((b) => b.lookup(table, 1, { found: (data) => use(b, data.port), missing: () => b.exit() }));
  const portOf = (b: Builder) => b.stack(Data).port;
  assert.ok(
    lines((b, port) => b.if(port.eq(80), () => b.exit(1))).some((line) => line.startsWith('if r1 != 0x5000')),
  );
  assert.ok(lines((b, port) => b.if(port.lt(1024), () => b.exit(1))).includes('r1 = be16 r1'));
  assert.ok(statements((b) => portOf(b).set(80)).includes('*(u16 *)(r10 -8) = 20480'));
  assert.equal(
    statements((b) => portOf(b).set(b.arg(0).get().as(u16))),
    ['r0 = *(u64 *)(r1 +0)', 'r2 = r0', 'r2 = be16 r2', '*(u16 *)(r10 -8) = r2'],
  );
});

test('a constant past 32 bits is compared through a register', () => {
  assert.equal(
    statements((b) => b.if(b.arg(0).lt(5_000_000_000), () => b.exit(1))),
    ['r0 = *(u64 *)(r1 +0)', 'r2 = 0x12a05f200', 'if r0 >= r2 goto end_1', 'r0 = 1', 'exit', 'end_1:'],
  );
});

// --- flow ------------------------------------------------------------------------------------------

test('returning a value in r0 only needs the exit', () => {
  assert.equal(
    emitted((b) => b.exit(b.arg(0).get())),
    ['r0 = *(u64 *)(r1 +0)', 'exit'],
  );
});

test('statements after an exit are refused', () => {
  assert.match(
    errorMessage((b) => {
      b.exit();
      b.call(ktimeGetNs);
    }),
    /^unreachable: the block ended at \S+builder\.test\.[jt]s:\d+/,
  );
});

test('leave is one jump, and memory written on all paths is written after the block', () => {
  assert.equal(
    statements((b) => {
      const slot = b.stack(u64);
      b.block((leave) => {
        slot.set(1);
        b.if(b.arg(0).eq(1), leave);
        slot.set(2);
      });
      b.value(slot);
    }),
    [
      '*(u64 *)(r10 -8) = 1',
      'r0 = *(u64 *)(r1 +0)',
      'if r0 == 0x1 goto end_1',
      '*(u64 *)(r10 -8) = 2',
      'end_1:',
      'r0 = *(u64 *)(r10 -8)',
    ],
  );
  assert.match(
    errorMessage((b) => {
      const slot = b.stack(u64);
      b.block((leave) => {
        b.if(b.arg(0).eq(1), leave);
        slot.set(2);
      });
      b.value(slot);
    }),
    /never written/,
  );
});

test('a branch, switch, lookup or block that throws can be caught without side effects', () => {
  const mine = new Error('mine');
  const failing: ((b: Builder, body: () => void) => void)[] = [
    (b, body) => b.if(b.arg(0).eq(1), body),
    (b, body) => b.if(b.arg(0).eq(1), () => b.exit(), body),
    (b, body) =>
      b.switch(b.arg(0), [
        [1, () => b.exit()],
        [2, body],
      ]),
    (b, body) => b.lookup(key, 1, { found: body }),
    (b, body) => b.block(body),
    (b, body) => b.if(b.arg(0).eq(1).and(b.arg(2).eq(1).not()), body),
    (b, body) => {
      const elements = b.stack(arrayOf(u32, 4));
      elements.set(0);
      elements.at(b.arg(0).get(), body);
    },
  ];
  for (const fail of failing) {
    const lines = statements((b) => {
      b.keep(b.context);
      b.if(b.arg(1).eq(7), () => {
        try {
          fail(b, () => {
            b.keep(b.stack(u64, 99));
            throw mine;
          });
        } catch (error) {
          assert.is(error, mine);
        }
        b.keep(b.stack(u64, 5));
      });
      b.stack(u64, 6);
    });
    assert.match(
      lines.slice(-4).join('; '),
      /^\*\(u64 \*\)\(r10 -\d+\) = 5; r7 = \*\(u64 \*\)\(r10 -\d+\); end_\d+:; \*\(u64 \*\)\(r10 -\d+\) = 6$/,
    );
    assert.is(
      lines.some((line) => / = 99$/.test(line)),
      false,
    );
  }
});

test('jumps to jumps go to the final target', () => {
  const lines = statements((b) => {
    b.if(b.arg(0).eq(1), () => {
      b.if(b.arg(1).eq(1), () => b.stack(u64).set(1));
      b.exit();
    });
    b.stack(u64).set(2);
  });
  assert.ok(lines.includes('if r0 != 0x1 goto exit'), lines.join('; '));
});

test('the jumps at the end of an arm have the line of the branch', () => {
  const { instructions } = program((b) => {
    const slot = b.stack(u64, 0);
    const arms = [() => slot.set(1), () => slot.set(2)] as const;
    b.if(b.arg(0).eq(1), ...arms);
    b.switch(b.arg(1), [[1, arms[0]]], arms[1]);
    b.if(b.arg(0).eq(1).and(b.arg(1).eq(2)), ...arms);
    b.exit(7);
  });
  const jumps = instructions.filter((item) => !isLabel(item) && item.opcode === JA) as Instruction[];
  const lines = jumps.map(({ position }) => locate(position)?.line ?? 'none');
  assert.is(lines.length, 3);
  assert.is(new Set(lines).size, 3, lines.join(', '));
  assert.not.ok(lines.includes('none'));
});

// --- maps and helpers ------------------------------------------------------------------------------

test('a lookup has both arms; its value is read through r0', () => {
  assert.equal(
    statements((b) =>
      b.lookup(key, 7, { found: (value) => value.count.atomicAdd(1), missing: () => b.exit() }),
    ),
    [
      '*(u32 *)(r10 -8) = 7',
      'r1 = map[table]',
      'r2 = r10',
      'r2 += -8',
      'call bpf_map_lookup_elem#1',
      'if r0 == 0x0 goto exit',
      'r1 = 1',
      'lock *(u64 *)(r0 +0) += r1',
    ],
  );
});

test('a key or value of the wrong size is refused', () => {
  assert.match(
    errorMessage((b) => b.delete(key, b.stack(u64, 1))),
    /^stack \(u64, .*\) doesn't fit stack \(u32, .*\): narrow it on purpose with .as\(schema\)/,
  );
  assert.match(
    errorMessage((b) => b.delete(key, b.arg(2))),
    /^argument 2 \(u64, .*\) doesn't fit argument 2 \(u32, .*\): narrow it on purpose with .as\(schema\)/,
  );
  assert.match(
    errorMessage((b) => b.update(key, 1, b.stack(u64, 1))),
    /^the value of map table has 16 bytes, but stack has 8 \(/,
  );
});

test('a lookup without a missing arm continues in both cases', () => {
  assert.equal(statements((b) => b.lookup(key, 7, { found: ({ count }) => count.atomicAdd(1) })).slice(-4), [
    'if r0 == 0x0 goto end_1',
    'r1 = 1',
    'lock *(u64 *)(r0 +0) += r1',
    'end_1:',
  ]);
});

test('a map operation returns a signed 32-bit number', () => {
  const lines = statements((b) => {
    const result = b.delete(key, 7);
    b.if(result.lt(0), () => b.exit(1));
    b.if(result.eq(-2), () => b.exit(2));
  });
  assert.ok(
    lines.some((line) => line.startsWith('if w0 s>= 0x0')),
    lines.join('; '),
  );
  assert.ok(
    lines.some((line) => line.startsWith('if w0 != 0xfffffffe')),
    lines.join('; '),
  );
});

test('two 32-bit numbers are compared by their low halves, without sign extension', () => {
  const lines = statements((b) => {
    const first = b.keep(b.delete(key, 7));
    b.if(b.delete(key, 8).lt(first), () => b.exit(1));
  });
  assert.match(lines.join('; '), /call bpf_map_delete_elem#3; if w0 s>= w\d goto/);
});

test('a context argument is copied to the stack if a helper needs memory', () => {
  const table = hash('t', { key: u64, value: u64, maxEntries: 1 });
  assert.equal(
    statements((b) => {
      b.delete(table, b.arg(0));
    }).slice(0, 2),
    ['r0 = *(u64 *)(r1 +0)', '*(u64 *)(r10 -8) = r0'],
  );
});

test('b.output needs the context', () => {
  const events = perfEventArray('events', u64);
  assert.equal(
    statements((b) => {
      b.output(events, b.stack(u64, 1));
    }),
    [
      '*(u64 *)(r10 -8) = 1',
      'r2 = map[events]',
      'w3 = -1',
      'r4 = r10',
      'r4 += -8',
      'r5 = 8',
      'call bpf_perf_event_output#25',
    ],
  );
});

test('arguments are placed in an order that overwrites none', () => {
  const lines = statements((b) => {
    const first = b.arg(0).get(); // r0
    const second = b.arg(1).get(); // r2
    const text = b.stack(u64, 0);
    b.call(tracePrintk, text, second, first);
  });
  assert.equal(
    lines.slice(-6),
    ['r3 = r2', 'r4 = r0', 'r1 = r10', 'r1 += -8', 'r2 = 8', 'call bpf_trace_printk#6'].sort(
      (a, b) => lines.indexOf(a) - lines.indexOf(b),
    ),
  );
  assert.ok(lines.indexOf('r3 = r2') < lines.indexOf('r2 = 8'));
});

test('wrong numbers of arguments are refused', () => {
  assert.match(
    errorMessage((b) => b.call(probeReadKernel, b.stack(u64))),
    /^bpf_probe_read_kernel takes 2 arguments \(memory to write, kernel address\), but got 1/,
  );
  assert.match(
    errorMessage((b) => b.call(ktimeGetNs, 1)),
    /^bpf_ktime_get_ns takes 0 arguments, but got 1/,
  );
});

test('a call of something other than a helper or subprogram says what to pass', () => {
  const call = (callee: unknown) => errorMessage((b) => b.call(callee as Helper));
  assert.match(
    call(undefined),
    /^b\.call\(\) got undefined instead of a helper or a subprogram: check the name and the import .*ktimeGetNs.* \(.*builder\.test\.[jt]s:\d+\)$/,
  );
  assert.match(call('ktime_get_ns'), /^b\.call\(\) got 'ktime_get_ns' instead of/);
  assert.match(call(5), /^b\.call\(\) got number instead of/);
  assert.match(
    errorMessage((b) => b.call(getCurrentComm, undefined as never)),
    /^argument 0 of bpf_get_current_comm is undefined: pass the memory to write/,
  );
});

test('an explicit size of memory is one argument too many', () =>
  assert.match(
    errorMessage((b) => b.call(getCurrentComm, b.stack(bytes(16)), 16)),
    /^bpf_get_current_comm takes 1 argument \(memory to write\), but got 2: the builder passes the context and the size of memory itself/,
  ));

test('raw instructions are allowed anywhere, and their calls clobber registers', () => {
  assert.equal(
    statements((b) => {
      b.emit(mov(r0, 1), jeq(r1, 0, 'mine'), add(r0, 1), label('mine'));
      b.call(ktimeGetNs);
    }),
    ['r0 = 1', 'if r1 == 0x0 goto mine', 'r0 += 1', 'mine:', 'call bpf_ktime_get_ns#5'],
  );
  assert.match(
    errorMessage((b) => {
      const value = b.arg(0).get();
      b.emit(call(getSmpProcessorId));
      value.add(1);
    }),
    /lost to a raw call/,
  );
  assert.match(
    errorMessage((b) => b.emit(ja(1), mov(r2, 0))),
    /must name a label/,
  );
});

// --- kernel structs --------------------------------------------------------------------------------

function kernelWithSock() {
  const btf = new BtfWriter();
  const int16 = btf.int('u16', 2);
  const int64 = btf.int('u64', 8);
  const byte = btf.int('u8', 1);
  const address = btf.array(byte, 16);
  btf.struct(
    'sock',
    64,
    [
      { name: 'id', type: int64, bits: 0 },
      { name: 'family', type: int16, bits: 16 * 8 },
      { name: 'state', type: byte, bits: 18 * 8 },
      { name: 'address', type: address, bits: 20 * 8 },
      { name: 'flag', type: byte, bits: 40 * 8 + 3, size: 2 },
    ],
    true,
  );
  return target('x64', Btf.parse(btf.blob()));
}

test('fields behind an untyped pointer are read by one probe over their span', () => {
  assert.equal(
    statements((b) => {
      const sk = b.kernel('sock', b.keep(b.arg(0)));
      const { family, state } = sk.fields({ family: 'family', state: 'state' });
      b.if(state.eq(2), () => b.exit());
      b.value(family);
    }, kernelWithSock()),
    [
      'r6 = *(u64 *)(r1 +0)',
      'r3 = r6',
      'r3 += 16',
      'r1 = r10',
      'r1 += -8',
      'r2 = 3',
      'call bpf_probe_read_kernel#113',
      'r0 = *(u8 *)(r10 -6)',
      'if r0 == 0x2 goto exit',
      'r0 = *(u16 *)(r10 -8)',
    ],
  );
});

test('the copy keeps the alignment of the struct', () => {
  const lines = statements((b) => {
    const { address } = b.kernel('sock', b.arg(0)).fields({ address: 'address' });
    b.stack(bytes(16)).set(address);
  }, kernelWithSock());
  assert.ok(lines.includes('r1 += -20'), lines.join('; '));
  assert.is(lines.filter((line) => line.startsWith('r0 = *(u32 *)')).length, 4);
});

test('a misspelled field suggests similar names', () => {
  const on = kernelWithSock();
  const fields = (path: string) => () =>
    statements((b) => {
      b.kernel('sock', b.arg(0)).fields({ path });
    }, on);
  assert.throws(fields('famly'), /family/);
  assert.throws(() => statements((b) => void b.kernel('sock', b.arg(0)).fields({ id: 'id' })), /BTF/);
});

test('the first existing path of several is used', () => {
  const lines = statements((b) => {
    b.kernel('sock', b.arg(0)).fields({ id: ['sk_cookie', 'id'] });
  }, kernelWithSock());
  assert.ok(lines.includes('r2 = 8'));
});

test('every instruction of a statement has the line of the statement', () => {
  const { instructions } = rawTracepoint('test', x64, (b) => {
    b.stack(u64).set(b.arg(0));
  });
  const [load, store] = instructions;
  assert.ok(load && 'opcode' in load && load.position && store && 'opcode' in store);
  assert.is(load.position, store.position);
});

test('an inner map can be used like a map, from its register', () => {
  const outer = arrayOfMaps('outer', { inner: key, maxEntries: 1 });
  const text = statements((b) =>
    b.lookup(outer, 0, {
      found: (map) => {
        const kept = b.keep(map);
        b.delete(kept, 7);
        b.lookup(kept, 7, { found: ({ count }) => count.atomicAdd(1), missing: () => b.exit() });
      },
      missing: () => b.exit(),
    }),
  );
  assert.equal(text, [
    '*(u32 *)(r10 -8) = 0',
    'r1 = map[outer]',
    'r2 = r10',
    'r2 += -8',
    'call bpf_map_lookup_elem#1',
    'if r0 == 0x0 goto exit',
    'r6 = r0',
    '*(u32 *)(r10 -16) = 7',
    'r1 = r6',
    'r2 = r10',
    'r2 += -16',
    'call bpf_map_delete_elem#3',
    '*(u32 *)(r10 -24) = 7',
    'r1 = r6',
    'r2 = r10',
    'r2 += -24',
    'call bpf_map_lookup_elem#1',
    'if r0 == 0x0 goto exit',
    'r1 = 1',
    'lock *(u64 *)(r0 +0) += r1',
  ]);
});

test('an inner map expires with a call and is not a value', () => {
  const outer = arrayOfMaps('outer', { inner: key, maxEntries: 1 });
  const inside = (use: (b: Builder, map: Parameters<Builder['delete']>[0]) => void) =>
    errorMessage((b) => b.lookup(outer, 0, { found: (map) => use(b, map), missing: () => b.exit() }));
  assert.match(
    inside((b, map) => {
      b.call(ktimeGetNs);
      b.delete(map, 7);
    }),
    /was a temporary in r0, lost to bpf_ktime_get_ns/,
  );
  assert.match(
    inside((b, map) => b.call(tracePrintk, map)),
    /bpf_trace_printk needs a number here, not map table/,
  );
});

// --- tail calls ------------------------------------------------------------------------------------

const stages = programArray('stages', { slots: ['parse', 'send'] });

test('a tail call passes the context, the array, and a slot by name, number or value; then the program continues', () => {
  assert.equal(
    statements((b) => {
      b.keep(b.context);
      b.tailCall(stages, 'send');
      b.tailCall(stages, 0);
      b.tailCall(stages, b.arg(1));
    }),
    [
      'r6 = r1',
      ...['r1 = r6', 'r2 = map[stages]', 'r3 = 1', 'call bpf_tail_call#12'],
      ...['r1 = r6', 'r2 = map[stages]', 'r3 = 0', 'call bpf_tail_call#12'],
      ...['r1 = r6', 'r2 = map[stages]', 'r3 = *(u64 *)(r6 +8)', 'call bpf_tail_call#12'],
    ],
  );
});

test('a tail call needs an existing slot and the context', () => {
  assert.match(
    errorMessage((b) => b.tailCall(stages, 2)),
    /^program array stages has no slot 2; .*builder\.test/,
  );
  assert.match(
    errorMessage((b) => {
      b.tailCall(stages, 0);
      b.tailCall(stages, 1);
    }),
    /the context .* lost to bpf_tail_call/,
  );
});

test('code after leave() is unreachable, code after the block is not', () => {
  assert.match(
    errorMessage((b) =>
      b.block((leave) => {
        leave();
        b.call(ktimeGetNs);
      }),
    ),
    /^unreachable: the block ended at \S+builder\.test\.[jt]s:\d+/,
  );
  const lines = statements((b) => {
    b.block((leave) => b.if(b.arg(0).eq(1), leave));
    b.call(ktimeGetNs);
  });
  assert.ok(lines.includes('call bpf_ktime_get_ns#5'), lines.join('; '));
});

test('memory that a call fills is unwritten before the call', () => {
  assert.match(
    errorMessage((b) => {
      const read = b.stack(struct({ from: u64, to: u64 }));
      b.call(probeReadKernel, read, read.from);
    }),
    /^stack\.from was never written/,
  );
});

test.run();
