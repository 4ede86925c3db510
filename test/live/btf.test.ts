import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { architectures } from '../../src/asm/architecture.ts';
import type { BtfKind } from '../../src/asm/btf/types.ts';
import { Btf, type BtfMember, NoSuchFieldError } from '../../src/asm/btf.ts';
import { Errno } from '../../src/loader/errno.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { nativeSyscalls } from '../../src/loader/koffi.ts';
import { inGuest, slowness, suite } from '../harness.ts';

const VMLINUX = '/sys/kernel/btf/vmlinux';
const test = suite('live/btf', { seconds: 60 });
const noBtf = !existsSync(VMLINUX) && `this kernel has no ${VMLINUX}`;
const noBpftool = noBtf || (spawnSync('bpftool', ['version']).status !== 0 && 'needs bpftool');

/** The fields that a tool that traces connects reads. */
const FIELDS: [string, string][] = [
  ['sock', '__sk_common.skc_daddr'],
  ['sock', '__sk_common.skc_rcv_saddr'],
  ['sock', '__sk_common.skc_dport'],
  ['sock', '__sk_common.skc_num'],
  ['sock', '__sk_common.skc_family'],
  ['sock', '__sk_common.skc_state'],
  ['sock', '__sk_common.skc_v6_daddr'],
  ['sock', 'sk_protocol'],
  ['sock', 'sk_err'],
  ['inet_sock', 'inet_sport'],
];

/** The kernel's types, parsed once: on an emulated machine parsing takes most of the time. */
let types: Btf | undefined;
function kernel(): Btf {
  types ??= Btf.parse(readFileSync(VMLINUX));
  return types;
}

/** Compares every type, but only every 16th on slow (emulated) machines. */
const STEP = inGuest ? 16 : 1;

test.skipIf(noBtf, 'struct sock has the fields that connect tracing reads', () => {
  const btf = kernel();
  const sizes = FIELDS.map(([struct, path]) => btf.member(struct, path).size);
  assert.equal(sizes.slice(0, 7), [4, 4, 2, 2, 2, 1, 16]);
  assert.ok([1, 2].includes(sizes[7] ?? 0), 'a bit field of 8 bits until Linux 5.6, 16 bits since');
  assert.equal(sizes.slice(8), [4, 2]);
  assert.is(btf.member('sock', 'sk_err').signed, true);
  assert.is(btf.member('sock', '__sk_common.skc_prot').pointsTo?.name, 'proto');
  assert.ok(
    btf.member('inet_sock', 'inet_sport').offset >= btf.sizeOf('sock'),
    'behind its leading struct sock',
  );
  assert.is(btf.enumValue('TCP_SYN_SENT'), 2);
});

test.skipIf(noBtf, 'a misspelled field of struct sock suggests the right one', () => {
  try {
    kernel().member('sock', 'skc_daddr');
  } catch (error) {
    assert.instance(error, NoSuchFieldError);
    assert.is((error as NoSuchFieldError).nearest[0], '__sk_common.skc_daddr');
    return;
  }
  assert.unreachable();
});

test.skipIf(noBtf, 'functions and tracepoints have prototypes', () => {
  const btf = kernel();
  const { parameters, returns } = btf.prototype('tcp_v4_connect');
  assert.equal(parameters.map(({ name, pointsTo, size }) => [name, pointsTo?.name, size]).slice(0, 1), [
    ['sk', 'sock', 8],
  ]);
  assert.is(parameters.length, 3);
  assert.equal([returns?.kind, returns?.size, returns?.signed], ['int', 4, true]);
  const state = btf.prototype('btf_trace_inet_sock_set_state');
  // void *data, then the arguments: sock, old state, new state.
  assert.equal(
    state.parameters.map(({ kind, pointsTo }) => pointsTo?.name ?? kind),
    ['pointer', 'sock', 'int', 'int'],
  );
  assert.is(state.returns, undefined);
  assert.throws(() => btf.prototype('tcp_v4_conect'), /nearest: tcp_v4_connect/);
});

const registers: { readonly [arch: string]: readonly string[] } = {
  x64: ['di', 'si', 'dx', 'cx', 'r8', 'r9', 'ax', 'ip', 'sp'],
  arm64: [
    'regs[0]',
    'regs[1]',
    'regs[2]',
    'regs[3]',
    'regs[4]',
    'regs[5]',
    'regs[6]',
    'regs[7]',
    'regs[0]',
    'pc',
    'sp',
  ],
};
const here = registers[process.arch];
test.skipIf(
  noBtf || (here === undefined && 'no such architecture'),
  'register offsets match the kernel\u2019s pt_regs',
  () => {
    const btf = kernel();
    const { kprobeArguments, kprobeReturn, instructionPointer, stackPointer } =
      architectures[process.arch as keyof typeof architectures];
    const offsets = here?.map((register) => btf.member('pt_regs', register).offset);
    assert.equal(offsets, [...kprobeArguments, kprobeReturn, instructionPointer, stackPointer]);
  },
);

test.skipIf(noBpftool, 'types and members match the output of bpftool', () => {
  const btf = kernel();
  const dump = execFileSync('bpftool', ['btf', 'dump', 'file', VMLINUX], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  const seen = compare(btf, dump);
  assert.is(seen.types, btf.count);
  assert.ok(seen.members > 10_000 / STEP, `${seen.members} members`);
});

/** Loaded modules that expose BTF. */
const modules = noBtf ? [] : readdirSync('/sys/kernel/btf').filter((name) => name !== 'vmlinux');
const noModule = noBpftool || (modules.length === 0 && 'no loaded module exposes BTF');

test.skipIf(noModule, 'types of modules match the output of bpftool', () => {
  const vmlinux = new Kernel();
  for (const module of modules) {
    const btf = vmlinux.moduleBtf(module) as Btf;
    const dump = execFileSync('bpftool', ['btf', 'dump', 'file', `/sys/kernel/btf/${module}`], {
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    });
    const { types } = compare(btf, dump);
    assert.ok(types > 0);
    assert.is(types, btf.count - (vmlinux.btf as Btf).count, module);
    assert.is(btf.member('sock', 'sk_err').offset, vmlinux.btf?.member('sock', 'sk_err').offset);
  }
});

/**
 * Every how many names are looked up. A look-up searches the whole blob, so all names of a kernel take
 * minutes: TSBPF_TEST_BTF_STEP=1.
 */
const NAME_STEP = Number(process.env.TSBPF_TEST_BTF_STEP ?? 61 * STEP);

test.skipIf(noBtf, 'look-ups by name find the types that a full decode finds', () => {
  const kernel = readFileSync(VMLINUX);
  const all = decodeHeads(kernel);
  assert.ok(all.heads.length > 10_000, `${all.heads.length} types`);
  assert.ok(checkNames(all.heads, () => Btf.lazy(kernel)) > 100 / STEP);
  for (const module of modules) {
    const bytes = readFileSync(`/sys/kernel/btf/${module}`);
    const { heads } = decodeHeads(bytes, all);
    checkNames(heads, () => Btf.lazy(bytes, Btf.lazy(kernel)));
  }
});

/** A type without its parts. */
interface Head {
  readonly id: number;
  readonly kind: number;
  readonly name: string;
}

/** What precedes a blob: its strings, their size, and the next id. */
interface Base {
  readonly string: (offset: number) => string;
  readonly strings: number;
  readonly next: number;
}

/** The kinds that have names, by their numbers (include/uapi/linux/btf.h). */
const NAMED: Readonly<Record<number, BtfKind>> = {
  ...{ 1: 'int', 4: 'struct', 5: 'union', 6: 'enum', 7: 'fwd', 8: 'typedef', 12: 'func', 14: 'var' },
  ...{ 15: 'datasec', 16: 'float', 19: 'enum64' },
};

/**
 * Decodes the heads of all types in a blob, one after the other. Knows nothing of the code under test. The
 * strings and ids of a module continue those of its base.
 */
function decodeHeads(bytes: Buffer, base: Base = { string: () => '', next: 1, strings: 0 }) {
  const [headerSize, types, typesSize, strings, stringsSize] = [4, 8, 12, 16, 20].map((at) =>
    bytes.readUInt32LE(at),
  ) as [number, number, number, number, number];
  const string = (offset: number): string => {
    if (offset < base.strings) return base.string(offset);
    const start = headerSize + strings + offset - base.strings;
    return bytes.toString('utf8', start, bytes.indexOf(0, start));
  };
  const heads: Head[] = [];
  let at = headerSize + types;
  for (const end = at + typesSize; at < end; ) {
    const [name, info] = [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)];
    const [kind, parts] = [(info >>> 24) & 0x1f, info & 0xffff];
    heads.push({ id: base.next + heads.length, kind, name: string(name) });
    at += 12;
    if ([1, 14, 17].includes(kind)) at += 4;
    else if ([4, 5, 15, 19].includes(kind)) at += 12 * parts;
    else if ([6, 13].includes(kind)) at += 8 * parts;
    else if (kind === 3) at += 12;
  }
  return { heads, string, next: base.next + heads.length, strings: base.strings + stringsSize };
}

/** Looks up names in fresh readers, in another order than that of the blob. Returns the number of names. */
function checkNames(heads: readonly Head[], open: () => Btf): number {
  const first = new Map<string, Head>();
  for (const head of heads) {
    const key = `${head.kind} ${head.name}`;
    if (head.name !== '' && head.kind in NAMED && !first.has(key)) first.set(key, head);
  }
  const chosen = [...first.values()].filter((_, index) => index % NAME_STEP === 0);
  chosen.sort((a, b) => ((a.id * 7919) % 10_007) - ((b.id * 7919) % 10_007));
  let btf = open();
  chosen.forEach(({ id, kind, name }, index) => {
    if (index % 20 === 0) btf = open();
    const kindName = NAMED[kind] as BtfKind;
    assert.is(btf.find(kindName, name), id, `${kindName} ${name}`);
    const type = btf.type(id);
    assert.equal([type.kind, 'name' in type && type.name], [kindName, name]);
  });
  return chosen.length;
}

test('unknown modules have no types', () => {
  for (const name of ['no_such_module', 'vmlinux', '../vmlinux', ''])
    assert.is(new Kernel().moduleBtf(name), undefined, name);
});

/**
 * Checks the kind, name and size of each type and the offset of each member against bpftool's output. Counts
 * all types and compares every STEP-th.
 */
function compare(btf: Btf, dump: string): { types: number; members: number } {
  const seen = { types: 0, members: 0 };
  let members: BtfMember[] = [];
  let skipping = false;
  for (const line of dump.split('\n')) {
    if (line.startsWith('[')) {
      seen.types++;
      skipping = seen.types % STEP !== 0;
    }
    if (skipping) continue;
    const head = /^\[(\d+)\] (\w+) '(.*?)'/.exec(line);
    const member = /^\t'(.*)' type_id=(\d+) bits_offset=(\d+)(?: bitfield_size=(\d+))?$/.exec(line);
    if (head) {
      assert.equal(members, [], `left over before ${line}`);
      const type = btf.type(Number(head[1]));
      assert.is(type.kind, head[2]?.toLowerCase(), line);
      if ('name' in type) assert.is(type.name || '(anon)', head[3], line);
      if ('size' in type) assert.match(line, new RegExp(` size=${type.size}( |$)`));
      members = 'members' in type ? [...type.members] : [];
    } else if (member) {
      const { name, type, bitOffset, bitSize = 0 } = members.shift() as BtfMember;
      const [type_id, bits_offset, bitfield_size] = member.slice(2).map((text) => Number(text ?? 0));
      assert.is(name || '(anon)', member[1], line);
      assert.equal([type, bitOffset, bitSize], [type_id, bits_offset, bitfield_size], line);
      seen.members++;
    }
  }
  return seen;
}

const mapped = noBtf ? -1 : nativeSyscalls().mapFile(VMLINUX);
const notMapped = noBtf || (typeof mapped === 'number' && `this kernel cannot map its BTF: errno ${-mapped}`);

test.skipIf(notMapped, 'mapped BTF equals the file', () => {
  assert.is(Buffer.compare(mapped as Uint8Array, readFileSync(VMLINUX)), 0);
});

test('a missing file, or a file without a size, is not mapped', () => {
  assert.is(nativeSyscalls().mapFile('/sys/no/such/file'), -Errno.ENOENT);
  assert.ok((nativeSyscalls().mapFile('/proc/self/status') as number) < 0);
});

test.skipIf(noBtf, 'parsing BTF and looking up ten members takes milliseconds', () => {
  const bytes = readFileSync(VMLINUX);
  const start = performance.now();
  const btf = Btf.parse(bytes);
  for (const [struct, path] of FIELDS) btf.member(struct, path);
  const took = performance.now() - start;
  // 6 ms on an idle machine; decoding all types would take about 300 ms.
  assert.ok(took < 100 * slowness, `${took.toFixed(1)} ms`);
});

test.run();
