import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import { ProgramError } from '../../src/asm/error.ts';
import { eventReader, perfEventArray, ringBuffer } from '../../src/asm/events.ts';
import { BPF_RB_NO_WAKEUP } from '../../src/asm/flags.ts';
import { getCurrentComm, ktimeGetNs, ringbufReserve, ringbufSubmit } from '../../src/asm/helpers.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { arrayOf, chars, struct, u16, u32, u64, u64n } from '../../src/asm/layout.ts';
import { hash, programArray } from '../../src/asm/map.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { target } from '../../src/asm/target.ts';
import { mapsOf } from '../../src/asm/tool-parts.ts';
import { exit, ja, jeq, label, mov, r0 } from '../../src/asm.ts';
import { suite } from '../harness.ts';

const test = suite('asm/events');

const Sample = struct({ number: u64, pid: u32, port: u32 });
const ring = ringBuffer('ring', Sample, { bytes: 4096 });
const typed = ringBuffer(
  'typed',
  { open: struct({ pid: u32 }), close: struct({ ns: u64 }) },
  { bytes: 4096 },
);

const build = (body: (b: Builder) => void) => rawTracepoint('sys_enter', target('x64'), body);
const listing = (body: (b: Builder) => void) =>
  assemble(build(body).instructions)
    .instructions.map(({ instruction }) => disassemble(instruction).replace(/^\(..\) /, ''))
    .join('\n');

/** Fills a record. */
const fill = (sample: { set(value: number): void }) => sample.set(0);

test('output to a ring buffer is one call, and counts a failure', () => {
  assert.is(
    listing((b) => {
      const sample = b.stack(Sample);
      sample.set(0);
      b.output(ring, sample, BPF_RB_NO_WAKEUP);
    }),
    `*(u64 *)(r10 -16) = 0
*(u64 *)(r10 -8) = 0
r1 = map[ring]
r2 = r10
r2 += -16
r3 = 16
r4 = 1
call bpf_ringbuf_output#130
if r0 == 0x0 goto pc+4
r1 = map[ring_lost][0]+0
r2 = 1
lock *(u64 *)(r1 +0) += r2
r0 = 0
exit`,
  );
});

test('reserve is one call and one jump; the arm without space counts the lost event', () => {
  assert.is(
    listing((b) => {
      b.reserve(ring, {
        reserved: (sample) => {
          fill(sample);
          b.submit(sample);
        },
        full: () => b.exit(1),
      });
    }),
    `r1 = map[ring]
r2 = 16
r3 = 0
call bpf_ringbuf_reserve#131
if r0 == 0x0 goto pc+6
*(u64 *)(r0 +0) = 0
*(u64 *)(r0 +8) = 0
r1 = r0
r2 = 0
call bpf_ringbuf_submit#132
goto pc+6
r1 = map[ring_lost][0]+0
r2 = 1
lock *(u64 *)(r1 +0) += r2
r0 = 1
exit
r0 = 0
exit`,
  );
});

test('the result of output stays a number in r0', () => {
  build((b) => {
    const sample = b.stack(Sample);
    sample.set(0);
    b.if(b.output(ring, sample).lt(0), () => b.exit(1));
  });
});

test('an event type is written with its padding, once, before the event', () => {
  assert.match(
    listing((b) => {
      const close = b.stack(typed.variants.close);
      close.ns.set(b.arg(1));
      b.output(typed, 'close', close);
    }),
    /\*\(u64 \*\)\(r10 -16\) = 2\n/,
  );
  assert.match(
    listing((b) =>
      b.reserve(typed, 'open', {
        reserved: (open) => {
          open.pid.set(7);
          b.submit(open);
        },
      }),
    ),
    /\*\(u32 \*\)\(r0 \+4\) = 7\n\*\(u32 \*\)\(r0 \+0\) = 1\nr1 = r0\n/,
  );
});

const perf = perfEventArray('perf', { open: struct({ pid: u32 }), close: struct({ ns: u64 }) });

test('perf event arrays carry several event types, too', () => {
  const text = listing((b) => {
    const open = b.stack(perf.variants.open);
    open.pid.set(7);
    b.output(perf, 'open', open);
  });
  assert.match(text, /\*\(u32 \*\)\(r10 -8\) = 1\n/);
  assert.match(text, /r5 = 8\ncall bpf_perf_event_output#25/);
  assert.not.match(text, /lost/);
});

test('a tool has the ring buffer and its counter, each once', () => {
  const program = build((b) => {
    b.reserve(ring, { reserved: (sample) => b.discard(sample) });
  });
  assert.equal(
    [...mapsOf({ name: 'tool', programs: [program], events: ring })].map(({ name }) => name),
    ['ring', 'ring_lost'],
  );
  assert.equal(
    [...mapsOf({ name: 'tool', programs: [], events: { perf, ring } })].map(({ name }) => name),
    ['perf', 'ring', 'ring_lost'],
  );
});

/** Bodies that release the record on every path. */
const RELEASED: Readonly<Record<string, (b: Builder) => void>> = {
  'both arms of a branch release it': (b) =>
    b.reserve(ring, {
      reserved: (sample) => {
        fill(sample);
        const number = sample.number.get();
        b.if(
          number.eq(1),
          () => b.submit(sample),
          () => b.discard(sample),
        );
      },
    }),
  'an arm that exits releases it before': (b) => {
    const number = b.keep(b.arg(1));
    b.reserve(ring, {
      reserved: (memory) => {
        const sample = b.keep(memory);
        b.if(number.eq(1), () => {
          b.discard(sample);
          b.exit();
        });
        fill(sample);
        b.submit(sample);
      },
    });
  },
  'every case of a switch releases it': (b) => {
    const number = b.keep(b.arg(1));
    b.reserve(ring, {
      reserved: (sample) => {
        b.switch(number, [[1, () => b.discard(sample)]], () => {
          fill(sample);
          b.submit(sample);
        });
      },
    });
  },
  'a block is left while it is reserved, inside its arm': (b) => {
    const number = b.keep(b.arg(1));
    b.reserve(ring, {
      reserved: (memory) => {
        const sample = b.keep(memory);
        b.block((leave) => {
          b.if(number.eq(1), leave);
          sample.set(0);
        });
        b.discard(sample);
      },
    });
  },
  'two records are reserved at once': (b) =>
    b.reserve(ring, {
      reserved: (memory) => {
        const first = b.keep(memory);
        b.reserve(ring, { reserved: (second) => b.discard(second) });
        b.discard(first);
      },
    }),
  'a jump forward to a label inside the arm': (b) => {
    const number = b.keep(b.arg(1));
    b.reserve(ring, {
      reserved: (memory) => {
        const sample = b.keep(memory);
        b.emit(jeq(number.register, 1, 'there'), mov(r0, 2), label('there'));
        b.discard(sample);
      },
    });
  },
  'a loop reserves and releases it in each round': (b) => {
    const rounds = b.keep(b.value(3));
    b.emit(label('again'));
    b.reserve(ring, { reserved: (sample) => b.discard(sample) });
    b.emit(jeq(rounds.register, 1, 'again'));
  },
};

for (const [name, body] of Object.entries(RELEASED)) test(`accepted: ${name}`, () => void build(body));

const LINE = String.raw`\(.*events\.test\.ts:\d+\)$`;
const RESERVED = String.raw`^the record of ring that was reserved at .*events\.test\.ts:\d+`;

/** Bodies that do not, and their errors. */
const LEAKED: readonly (readonly [string, (b: Builder) => void, string])[] = [
  [
    'the arm ends',
    (b) => b.reserve(ring, { reserved: fill }),
    `is neither submitted nor discarded before the end of the arm 'reserved'`,
  ],
  ['exit', (b) => b.reserve(ring, { reserved: () => b.exit() }), 'before exit\\(\\)'],
  [
    'a branch exits',
    (b) => {
      const number = b.keep(b.arg(1));
      b.reserve(ring, {
        reserved: (sample) => {
          b.if(number.eq(1), () => b.exit());
          b.discard(sample);
        },
      });
    },
    'before exit\\(\\)',
  ],
  [
    'leave() of a block around it',
    (b) => b.block((leave) => b.reserve(ring, { reserved: () => leave() })),
    'before leave\\(\\)',
  ],
  [
    'one arm of a branch releases it',
    (b) => {
      const number = b.keep(b.arg(1));
      b.reserve(ring, { reserved: (sample) => b.if(number.eq(1), () => b.discard(sample)) });
    },
    'is discarded at .* on one path and still reserved on another after this branch',
  ],
  [
    'one case of a switch does not release it',
    (b) => {
      const number = b.keep(b.arg(1));
      b.reserve(ring, {
        reserved: (sample) =>
          b.switch(
            number,
            [
              [1, () => b.discard(sample)],
              [2, () => {}],
            ],
            () => b.discard(sample),
          ),
      });
    },
    'still reserved on another after this branch',
  ],
  [
    'leave() skips the release',
    (b) => {
      const number = b.keep(b.arg(1));
      b.reserve(ring, {
        reserved: (sample) =>
          b.block((leave) => {
            b.if(number.eq(1), leave);
            b.discard(sample);
          }),
      });
    },
    'still reserved on another after this branch',
  ],
  ['a raw exit', (b) => b.reserve(ring, { reserved: () => b.emit(mov(r0, 0), exit()) }), 'before the exit'],
  [
    'a raw jump to the shared exit',
    (b) =>
      b.reserve(ring, {
        reserved: (sample) => {
          b.emit(jeq(r0, 5, 'exit'));
          b.discard(sample);
        },
      }),
    "before the jump to 'exit'",
  ],
  [
    'a raw jump to a label after the arm',
    (b) => {
      b.reserve(ring, {
        reserved: (sample) => {
          b.emit(jeq(r0, 5, 'out'));
          b.discard(sample);
        },
      });
      b.emit(label('out'));
    },
    "to the label 'out'",
  ],
  [
    'a jump back to a label before the record',
    (b) => {
      b.emit(label('top'));
      b.reserve(ring, { reserved: () => b.emit(ja('top')) });
    },
    "at the jump back to 'top'",
  ],
  [
    'a jump back to a label where it is still reserved',
    (b) =>
      b.reserve(ring, {
        reserved: (memory) => {
          const sample = b.keep(memory);
          b.emit(label('top'), mov(r0, 1));
          b.discard(sample);
          b.emit(mov(r0, 1), jeq(r0, 2, 'top'));
        },
      }),
    "at the jump back to 'top'",
  ],
  [
    'a tail call',
    (b) => {
      b.keep(b.context);
      b.reserve(ring, {
        reserved: (sample) => {
          b.tailCall(programArray('stages', { maxEntries: 1 }), 0);
          b.discard(sample);
        },
      });
    },
    'before the tail call',
  ],
  [
    'return of a subprogram',
    (b) => {
      const inner = subprogram('inner', [], (i) => i.reserve(ring, { reserved: () => i.return() }));
      b.call(inner);
    },
    'before return\\(\\)',
  ],
  [
    'released twice',
    (b) =>
      b.reserve(ring, {
        reserved: (memory) => {
          const sample = b.keep(memory);
          b.discard(sample);
          b.discard(sample);
        },
      }),
    'was discarded at .*: it cannot be used after that',
  ],
  [
    'written after it was submitted',
    (b) =>
      b.reserve(ring, {
        reserved: (memory) => {
          const sample = b.keep(memory);
          fill(sample);
          b.submit(sample);
          sample.pid.set(1);
        },
      }),
    'was submitted at .*: it cannot be used after that',
  ],
  [
    'an element used after it was discarded',
    (b) => {
      const list = ringBuffer('ring', struct({ ids: arrayOf(u64, 4) }), { bytes: 4096 });
      const index = b.keep(b.arg(1));
      b.reserve(list, {
        reserved: (memory) => {
          const sample = b.keep(memory);
          sample.set(0);
          sample.ids.at(index, (id) => {
            b.discard(sample);
            id.set(1);
          });
        },
      });
    },
    'was discarded at .*: it cannot be used after that',
  ],
  [
    'used in the arm without space',
    (b) => {
      let stolen: { set(value: number): void } | undefined;
      b.reserve(ring, {
        reserved: (sample) => {
          stolen = sample;
          b.discard(sample);
          b.exit();
        },
        full: () => stolen?.set(0),
      });
    },
    'was discarded at',
  ],
];

for (const [name, body, message] of LEAKED)
  test(`refused at its line: ${name}`, () => {
    assert.throws(
      () => build(body),
      (error: unknown) =>
        error instanceof ProgramError && new RegExp(`${RESERVED}.* ?${message}.*${LINE}`).test(error.message)
          ? true
          : assert.unreachable(String(error)),
    );
  });

test('every byte must be written before the record is submitted, its padding too', () => {
  assert.throws(
    () =>
      build((b) =>
        b.reserve(ring, {
          reserved: (sample) => {
            sample.number.set(1);
            b.submit(sample);
          },
        }),
      ),
    /^ring\.pid was never written \(byte 8 of ring\)/,
  );
  const padded = ringBuffer('padded', struct({ number: u64, port: u16 }), { bytes: 4096 });
  assert.throws(
    () =>
      build((b) =>
        b.reserve(padded, {
          reserved: (sample) => {
            sample.number.set(1);
            sample.port.set(1);
            b.submit(sample);
          },
        }),
      ),
    /^the padding after padded\.port was never written/,
  );
});

test('helpers and subprograms fill a record', () => {
  const execs = ringBuffer('execs', struct({ comm: chars(16), ns: u64 }), { bytes: 4096 });
  const stamp = subprogram('stamp', [execs.event], (b, exec) => exec.ns.set(b.arg(1)), { context: true });
  build((b) => {
    b.keep(b.context);
    b.reserve(execs, {
      reserved: (memory) => {
        const exec = b.keep(memory);
        exec.ns.set(b.call(ktimeGetNs));
        b.call(getCurrentComm, exec.comm);
        b.call(stamp, exec);
        b.submit(exec);
      },
    });
  });
});

test('a key in a record is copied to the stack', () => {
  const counts = hash('counts', { key: u64, value: u64, maxEntries: 8 });
  const text = listing((b) =>
    b.reserve(ring, {
      reserved: (memory) => {
        const sample = b.keep(memory);
        fill(sample);
        b.update(counts, sample.number, 1);
        b.discard(sample);
      },
    }),
  );
  assert.match(text, /r1 = \*\(u64 \*\)\(r6 \+0\)\n\*\(u64 \*\)\(r10 -8\) = r1/);
});

test('what is not a record, and maps of another kind, are refused', () => {
  const refused = (body: (b: Builder) => void, message: RegExp) => assert.throws(() => build(body), message);
  refused((b) => b.submit(b.stack(u64, 1)), /^bpf_ringbuf_submit needs the record that b\.reserve passes/);
  refused((b) => b.call(ringbufSubmit, 5, 0), /needs the record .* not 5/);
  refused((b) => b.call(ringbufReserve, ring, 16, 0), /^b\.call\(\) cannot reserve a record.*use b\.reserve/);
  refused(
    (b) => b.reserve(ring, { reserved: (sample) => b.submit(sample.number) }),
    /^bpf_ringbuf_submit needs the whole record, not ring\.number/,
  );
  refused(
    (b) => b.reserve(perfEventArray('perf', Sample) as never, { reserved: () => {} }),
    /^b\.reserve needs a ring buffer, not perf: use b\.output/,
  );
  refused((b) => {
    const sample = b.stack(perf.variants.open, 0);
    b.output(perf, 'open', sample, 1);
  }, /^map perf is a perf event array, whose reader the kernel wakes: flags are for ring buffers/);
  refused((b) => {
    const sample = b.stack(Sample);
    sample.set(0);
    b.output(typed, 'open', sample as never);
  }, /^cannot send stack .* to map typed: .*make it with b\.stack\(events\.variants\.NAME\)/);
  refused(
    (b) => b.output(typed as unknown as typeof ring, b.stack(typed.variants.open) as never),
    /^map typed has several event types: name one of open, close before the event/,
  );
  refused(
    (b) => b.output(typed, 'opne' as 'open', b.stack(typed.variants.open)),
    /^map typed has no event type 'opne': it has open, close/,
  );
});

test('the size is a power of two and whole pages, and an event fits', () => {
  const of = (bytes: number, schema = Sample as never) => ringBuffer('ring', schema, { bytes });
  for (const [bytes, use] of [
    [0, 4096],
    [-4096, 4096],
    [2048, 4096],
    [5000, 8192],
    [4096.5, 8192],
    [2 ** 32, 2 ** 31],
    [Number.NaN, 4096],
  ] as const)
    assert.throws(
      () => of(bytes),
      new RegExp(
        `^ring buffer ring: bytes is ${bytes}, but the kernel needs a power of two and whole pages: use ${use} ${LINE}`,
      ),
    );
  of(4096, struct({ fill: arrayOf(u64, 511) }) as never);
  assert.throws(
    () => of(4096, struct({ fill: arrayOf(u64, 512) }) as never),
    /an event of 4096 bytes \(4104 with its header\) does not fit 4096 bytes: use 8192 \(.*events\.test\.ts:\d+\)$/,
  );
});

test('event types are structs without a field `type`', () => {
  const of = (event: unknown) => perfEventArray('perf', event as never);
  assert.throws(() => of(undefined), /^perf event array perf needs the schema of its events/);
  assert.throws(() => of({}), /^perf event array perf has no event type: pass at least one struct/);
  assert.throws(() => of({ open: u64 }), /the event type open is not a struct/);
  assert.throws(() => of({ open: struct({ type: u32 }) }), /open has a field 'type', which the library adds/);
});

test('events decode by their number to their name', () => {
  const events = perfEventArray('ring', { open: struct({ pid: u32 }), close: struct({ ns: u64n }) });
  const decode = eventReader(events, false);
  const view = new DataView(new ArrayBuffer(24));
  view.setUint32(4, 1, true);
  view.setUint32(8, 7, true);
  assert.equal(decode(view, 4, 8), { type: 'open', pid: 7 });
  view.setUint32(8, 2, true);
  view.setUint32(16, 9, true);
  assert.equal(decode(view, 8, 16), { type: 'close', ns: 9 });
  const read = eventReader(events, true);
  const sample = read(view, 8, 16);
  assert.is(sample.type === 'close' && sample.ns, 9);
  assert.is(read(view, 8, 16), sample);
  assert.throws(() => decode(view, 8, 8), /an event has 8 bytes, but the schema of 'ring\.close' 16/);
  assert.throws(() => decode(view, 0, 8), /an event of 'ring' has the type 0, which is none of open, close/);
  assert.throws(() => decode(view, 0, 2), /has the type 0/);
});

test('a timestamp is the offset of a u64, the same in all event types', () => {
  assert.is(perfEventArray('events', Sample).timestamp, undefined);
  assert.is(perfEventArray('events', Sample, { timestamp: 'number' }).timestamp, 0);
  assert.is(perfEventArray('events', struct({ pid: u32, ns: u64n }), { timestamp: 'ns' }).timestamp, 8);
  const open = struct({ ns: u64, pid: u32 });
  assert.is(perfEventArray('events', { open, close: struct({ ns: u64 }) }, { timestamp: 'ns' }).timestamp, 8);
  const bad = (event: Parameters<typeof perfEventArray>[1], timestamp: string) => () =>
    perfEventArray('events', event, { timestamp: timestamp as never });
  assert.throws(bad(Sample, 'pid'), /'pid' is not a u64 field of its events: use one of: number/);
  assert.throws(bad(Sample, 'missing'), /'missing' is not a u64 field of its events: use one of: number/);
  assert.throws(bad(struct({ pid: u32 }), 'pid'), /'pid' is not a u64 field of its events: add one/);
  assert.throws(bad(u64, 'ns'), /'ns' is not a u64 field of its events: add one/);
  const close = struct({ fd: u64, ns: u64 });
  assert.throws(bad({ open, close }, 'ns'), /'ns' is not a u64 at the same offset in all event types/);
});

test.run();
