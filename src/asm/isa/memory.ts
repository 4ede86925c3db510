/** The rows for loads, stores and atomic instructions (RFC 9669, section 5). */
import { once } from '../once.ts';
import {
  ABS,
  ATOMIC,
  CALLER_SAVED,
  type Form,
  form,
  IND,
  LD,
  LDX,
  MEM,
  MEMSX,
  SIZES,
  ST,
  STACK_ARGUMENTS,
  STX,
} from './form.ts';

/** The instructions with two slots. Only `lddw` holds a whole 64-bit number; the others name an object. */
const wideLoads = () =>
  (
    [
      { name: 'lddw', src: 0, imm: 'word', high: 'word', since: '3.18', text: 'r{dst} = {imm64}' },
      { name: 'loadMap', src: 1, imm: 'fd', high: 0, since: '3.18', text: 'r{dst} = map[{map}]' },
      {
        name: 'loadMapValue',
        src: 2,
        imm: 'fd',
        high: 'valueOffset',
        since: '5.2',
        text: 'r{dst} = map[{map}][0]+{high}',
      },
      // The kernel has no separate text for these two: it prints the loaded address.
      {
        name: 'loadBtfVariable',
        src: 3,
        imm: 'btfId',
        high: 0,
        since: '5.10',
        text: 'r{dst} = variable[id:{imm}]',
      },
      {
        name: 'loadBtfVariable',
        src: 3,
        imm: 'btfId',
        high: 'moduleFd',
        since: '5.12',
        text: 'r{dst} = variable[id:{imm}] in module[fd:{high}]',
      },
      {
        name: 'loadFunction',
        src: 4,
        imm: 'farTarget',
        high: 0,
        since: '5.13',
        text: 'r{dst} = subprog[{distance}]',
      },
      {
        name: 'loadMapByIndex',
        src: 5,
        imm: 'index',
        high: 0,
        since: '5.14',
        text: 'r{dst} = map[idx:{imm}]',
      },
      {
        name: 'loadMapValueByIndex',
        src: 6,
        imm: 'index',
        high: 'valueOffset',
        since: '5.14',
        text: 'r{dst} = map[idx:{imm}]+{high}',
      },
    ] as const
  ).map((row) => form({ ...row, opcode: LD | 0x18, dst: 'register', writes: ['dst'] }));

const memory = () =>
  SIZES.flatMap(({ size, bits, type, signed, imm }) => {
    const load = {
      dst: 'register',
      src: 'base',
      off: 'offset',
      size,
      reads: ['src', 'memory'],
      writes: ['dst'],
    } as const;
    const store = { dst: 'base', off: 'offset', size, affects: ['memory'], since: '3.18' } as const;
    return [
      form({
        ...load,
        name: 'ldx',
        opcode: LDX | MEM | bits,
        since: '3.18',
        text: `r{dst} = *(${type} *)(r{src} {off})`,
      }),
      form({
        ...store,
        name: 'stx',
        opcode: STX | MEM | bits,
        src: 'register',
        reads: ['dst', 'src'],
        text: `*(${type} *)(r{dst} {off}) = r{src}`,
      }),
      form({
        ...store,
        name: 'st',
        opcode: ST | MEM | bits,
        imm,
        reads: ['dst'],
        text: `*(${type} *)(r{dst} {off}) = {imm}`,
      }),
      ...(size === 8
        ? []
        : [
            form({
              ...load,
              name: 'ldsx',
              opcode: LDX | MEMSX | bits,
              since: '6.6',
              text: `r{dst} = *(${signed} *)(r{src} {off})`,
            }),
          ]),
    ];
  });

const FETCHES = [
  { name: 'add', op: 0x00, sign: '+=' },
  { name: 'or', op: 0x40, sign: '|=' },
  { name: 'and', op: 0x50, sign: '&=' },
  { name: 'xor', op: 0xa0, sign: '^=' },
] as const;

const atomics = () =>
  SIZES.filter(({ size }) => size >= 4).flatMap(({ size, bits, type }) => {
    const row = {
      opcode: STX | ATOMIC | bits,
      dst: 'base',
      src: 'register',
      off: 'offset',
      size,
      reads: ['dst', 'src', 'memory'],
      affects: ['memory'],
    } as const;
    const place = `(${type} *)(r{dst} {off})`;
    const prefix = size === 8 ? 'atomic64' : 'atomic';
    return [
      ...FETCHES.flatMap(({ name, op, sign }) => [
        form({
          ...row,
          name: `atomic.${name}`,
          imm: op,
          since: name === 'add' ? '3.18' : '5.12',
          text: `lock *${place} ${sign} r{src}`,
        }),
        form({
          ...row,
          name: `atomic.fetch${name[0]?.toUpperCase()}${name.slice(1)}`,
          imm: op | 1,
          writes: ['src'],
          since: '5.12',
          text: `r{src} = ${prefix}_fetch_${name}(${place}, r{src})`,
        }),
      ]),
      form({
        ...row,
        name: 'atomic.xchg',
        imm: 0xe1,
        writes: ['src'],
        since: '5.12',
        text: `r{src} = ${prefix}_xchg(${place}, r{src})`,
      }),
      form({
        ...row,
        name: 'atomic.cmpxchg',
        imm: 0xf1,
        reads: [...row.reads, 'r0'],
        writes: ['r0'],
        since: '5.12',
        text: `r0 = ${prefix}_cmpxchg(${place}, r0, r{src})`,
      }),
    ];
  });

const barriers = () =>
  SIZES.flatMap(({ size, bits, type }) => [
    form({
      name: 'loadAcquire',
      opcode: STX | ATOMIC | bits,
      dst: 'register',
      src: 'base',
      off: 'offset',
      imm: 0x100,
      size,
      reads: ['src', 'memory'],
      writes: ['dst'],
      since: '6.15',
      text: `r{dst} = load_acquire((${type} *)(r{src} {off}))`,
    }),
    form({
      name: 'storeRelease',
      opcode: STX | ATOMIC | bits,
      dst: 'base',
      src: 'register',
      off: 'offset',
      imm: 0x110,
      size,
      reads: ['dst', 'src'],
      affects: ['memory'],
      since: '6.15',
      text: `store_release((${type} *)(r{dst} {off}), r{src})`,
    }),
  ]);

/**
 * Packet loads of socket filters, which the kernel keeps for old programs: r6 holds the packet, r0 gets the
 * value.
 */
const packetLoads = () =>
  SIZES.filter(({ size }) => size < 8).flatMap(({ size, bits, type }) => {
    const row = { imm: 'signed', size, writes: CALLER_SAVED, since: '3.18' } as const;
    return [
      form({
        ...row,
        name: 'loadPacket',
        opcode: LD | ABS | bits,
        reads: ['r6', 'packet'],
        text: `r0 = *(${type} *)skb[{imm}]`,
      }),
      form({
        ...row,
        name: 'loadPacketAt',
        opcode: LD | IND | bits,
        src: 'register',
        reads: ['src', 'r6', 'packet'],
        text: `r0 = *(${type} *)skb[r{src} + {imm}]`,
      }),
    ];
  });

/**
 * Arguments past the fifth, 8 bytes each: the caller writes them below r11, the callee reads them above it.
 */
const stackArgumentForms = () => [
  form({
    name: 'loadArgument',
    opcode: LDX | MEM | 0x18,
    dst: 'register',
    src: STACK_ARGUMENTS,
    off: 'incoming',
    reads: ['stack arguments'],
    writes: ['dst'],
    since: '7.2',
    text: 'r{dst} = *(u64 *)(r11 {off})',
  }),
  form({
    name: 'storeArgument',
    opcode: STX | MEM | 0x18,
    dst: STACK_ARGUMENTS,
    src: 'register',
    off: 'outgoing',
    reads: ['src'],
    affects: ['stack arguments'],
    since: '7.2',
    text: '*(u64 *)(r11 {off}) = r{src}',
  }),
  form({
    name: 'storeArgument',
    opcode: ST | MEM | 0x18,
    dst: STACK_ARGUMENTS,
    off: 'outgoing',
    imm: 'signed',
    affects: ['stack arguments'],
    since: '7.2',
    text: '*(u64 *)(r11 {off}) = {imm}',
  }),
];

/** Only in loaded programs: a barrier against speculative execution. */
const noSpeculation = () =>
  form({ name: 'noSpeculation', opcode: ST | 0xc0, onlyIn: 'dumps', text: 'nospec' });

/** The forms of loads, stores and atomic instructions. */
export const memoryForms = once((): readonly Form[] => [
  ...wideLoads(),
  ...memory(),
  ...atomics(),
  ...barriers(),
  ...packetLoads(),
  ...stackArgumentForms(),
  noSpeculation(),
]);
