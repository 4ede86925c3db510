/** kprobe.multi: which functions patterns match, and how they are attached. The kernel is a fake. */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { type Functions, kprobeMulti, kretprobeMulti } from '../../src/asm/hooks.ts';
import { target } from '../../src/asm/target.ts';
import { Errno } from '../../src/loader/errno.ts';
import { NoSuchSymbolError, UntraceableSymbolError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { attach, type Link } from '../../src/loader/link.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/kprobe-multi');

/** Commands of bpf(2), and the attach type of kprobe.multi. */
const [LOAD, LINK, MULTI] = [5, 28, 42];

const KALLSYMS = `\
ffffffff81000010 T tcp_close
ffffffff81000020 t __do_tcp_open
ffffffff81000020 t tcp_open
ffffffff81000030 t tcp_twice
ffffffff81000040 t tcp_twice
ffffffff81000050 t tcp_notrace
ffffffff81000060 D tcp_data
ffffffffc0000010 t tcp_nat\t[nf_nat]
ffffffffc0000020 t nat_init\t[nf_nat]
`;

// ftrace lists tcp_open by its other name.
const TRACEABLE = 'tcp_close\n__do_tcp_open\ntcp_twice\ntcp_nat [nf_nat]\nnat_init [nf_nat]\n';

/** What BPF_LINK_CREATE was asked for, apart from the probe. */
interface Asked {
  readonly addresses: readonly bigint[];
  readonly cookies: readonly bigint[];
  readonly flags: number;
}

/** A kernel that records links of kprobe.multi. `refuse` returns the errno for addresses. */
function kernelWith(refuse: (addresses: readonly bigint[]) => number = () => 0): [FakeSyscalls, Asked[]] {
  const fake = new FakeSyscalls();
  fake.files.set('/proc/kallsyms', KALLSYMS);
  fake.files.set('/proc/self/mounts', 'tracefs /sys/kernel/tracing tracefs rw 0 0\n');
  fake.files.set('/sys/kernel/tracing/available_filter_functions', TRACEABLE);
  const asked: Asked[] = [];
  fake.answers.set(LINK, (attr) => {
    if (attr.getUint32(8, true) !== MULTI || attr.getBigUint64(24, true) !== 0n) return undefined;
    const words = (at: number) => {
      const address = attr.getBigUint64(at, true);
      return address === 0n ? [] : [...new BigUint64Array(fake.at(address).slice().buffer)];
    };
    const addresses = words(32);
    assert.is(attr.getUint32(20, true), addresses.length);
    const errno = refuse(addresses);
    if (errno === 0) asked.push({ addresses, cookies: words(40), flags: attr.getUint32(16, true) });
    return errno === 0 ? undefined : -errno;
  });
  return [fake, asked];
}

function attachTo(fake: FakeSyscalls, functions: Functions, hook = kprobeMulti): Link {
  const kernel = new Kernel(fake);
  const spec = hook(functions, target('x64'), () => {});
  const program = loadProgram(kernel, spec, assemble(spec.instructions), new Map());
  try {
    return attach(kernel, program);
  } finally {
    program.close();
  }
}

test('a pattern attaches by one link to the functions that ftrace can trace, with their cookies', () => {
  const [fake, asked] = kernelWith();
  const link = attachTo(fake, 'tcp_*');
  assert.equal(asked, [
    {
      addresses: [0xffff_ffff_8100_0010n, 0xffff_ffff_8100_0020n, 0xffff_ffff_c000_0010n],
      cookies: [0n, 1n, 2n],
      flags: 0,
    },
  ]);
  assert.is(link.multi?.method, 'kprobe.multi');
  assert.equal(
    link.multi?.functions.map(({ symbol, module, cookie }) => [symbol, module, cookie]),
    [
      ['tcp_close', undefined, 0n],
      ['tcp_open', undefined, 1n],
      ['tcp_nat', 'nf_nat', 2n],
    ],
  );
  assert.equal(link.multi?.skipped, [
    {
      symbol: 'tcp_twice',
      reason: 'the kernel can trace 1 of the 2 functions with this name, and does not say which',
    },
  ]);
  assert.is(fake.open.size, 1);
  link.close();
  assert.is(fake.open.size, 0);
});

test('names, patterns of modules, and cookies by name; each function once', () => {
  const [fake, asked] = kernelWith();
  attachTo(fake, { tcp_open: 7, 'nf_nat:*': 8n, 'tcp_[a-o]*': 9 }, kretprobeMulti).close();
  assert.equal(asked, [
    {
      addresses: [
        0xffff_ffff_8100_0020n,
        0xffff_ffff_c000_0010n,
        0xffff_ffff_c000_0020n,
        0xffff_ffff_8100_0010n,
      ],
      cookies: [7n, 8n, 8n, 9n],
      flags: 1,
    },
  ]);
});

test('a name attaches to every function with this name', () => {
  const [fake, asked] = kernelWith();
  attachTo(fake, 'tcp_twice').close();
  assert.equal(asked[0]?.addresses, [0xffff_ffff_8100_0030n, 0xffff_ffff_8100_0040n]);
});

test('hidden addresses are replaced by names', () => {
  const [fake] = kernelWith();
  fake.files.set('/proc/kallsyms', KALLSYMS.replaceAll(/^\S+/gm, '0000000000000000'));
  const names: string[] = [];
  fake.answers.set(LINK, (attr) => {
    const symbols = new BigUint64Array(fake.at(attr.getBigUint64(24, true)).slice().buffer);
    names.push([...symbols].map((address) => fake.textAt(address)).join(' '));
    return undefined;
  });
  attachTo(fake, ['nf_nat:nat_init', 'tcp_c*']).close();
  assert.equal(names, ['vprintk', 'nat_init tcp_close']);
});

test('a function of a pattern that the kernel refuses is skipped, with the reason; the others are attached', () => {
  const refused = 0xffff_ffff_8100_0020n;
  const [fake, asked] = kernelWith((addresses) => (addresses.includes(refused) ? Errno.EINVAL : 0));
  const link = attachTo(fake, ['tcp_close', 'tcp_o*', 'nf_nat:*']);
  assert.equal(asked.flatMap(({ addresses }) => addresses).sort(), [
    0xffff_ffff_8100_0010n,
    0xffff_ffff_c000_0010n,
    0xffff_ffff_c000_0020n,
  ]);
  assert.equal(
    link.multi?.skipped.map(({ symbol }) => symbol),
    ['tcp_open'],
  );
  assert.match(link.multi?.skipped[0]?.reason ?? '', /the function exists, but/);
  link.close();
  assert.is(fake.open.size, 0);
});

test('a named function that the kernel refuses is an error, and nothing stays attached', () => {
  const refused = 0xffff_ffff_8100_0020n;
  const [fake] = kernelWith((addresses) => (addresses.includes(refused) ? Errno.EINVAL : 0));
  assert.throws(
    () => attachTo(fake, ['tcp_close', 'tcp_open', 'nf_nat:*']),
    (error: unknown) => error instanceof UntraceableSymbolError && error.symbol === 'tcp_open',
  );
  assert.is(fake.open.size, 0);
});

test('a refused function of a pattern is skipped even if a named one has the same name', () => {
  const refused = 0xffff_ffff_8100_0010n;
  const [fake] = kernelWith((addresses) => (addresses.includes(refused) ? Errno.EINVAL : 0));
  fake.files.set('/proc/kallsyms', `${KALLSYMS}ffffffffc0000030 t tcp_close\t[nf_nat]\n`);
  fake.files.set('/sys/kernel/tracing/available_filter_functions', `${TRACEABLE}tcp_close [nf_nat]\n`);
  const link = attachTo(fake, ['nf_nat:tcp_close', 'tcp_c*']);
  assert.equal(
    link.multi?.skipped.map(({ symbol }) => symbol),
    ['tcp_close'],
  );
  assert.equal(
    link.multi?.functions.map(({ address }) => address),
    [0xffff_ffff_c000_0030n],
  );
  link.close();
});

test('if the kernel refuses all functions of a pattern, the error is that of the first', () => {
  const [fake] = kernelWith((addresses) => (addresses.length > 0 ? Errno.EINVAL : 0));
  assert.throws(
    () => attachTo(fake, 'tcp_*'),
    (error: unknown) => error instanceof UntraceableSymbolError && error.symbol === 'tcp_close',
  );
  assert.is(fake.open.size, 0);
});

test('a pattern without a match is an error that says why', () => {
  for (const [pattern, message] of [
    [
      'udp_*',
      /cannot attach the program 'udp__' to udp_\*, tcp_close: .*no function of this kernel matches the pattern/,
    ],
    ['tcp_no*', /the pattern matches 1 functions, and none of them can be traced/],
    ['udp_sendmsg', /this kernel has no such function/],
  ] as const) {
    const [fake] = kernelWith();
    assert.throws(
      () => attachTo(fake, ['tcp_close', pattern].reverse()),
      (error: unknown) =>
        error instanceof NoSuchSymbolError && error.symbol === pattern && message.test(error.message),
    );
    assert.is(fake.open.size, 0);
  }
});

for (const errno of [Errno.EINVAL, Errno.EOPNOTSUPP])
  test(`without kprobe.multi (errno ${errno}) each function gets a kprobe with its cookie`, () => {
    const [fake] = kernelWith();
    const types: number[] = [];
    const cookies: (bigint | undefined)[] = [];
    const addresses: bigint[] = [];
    fake.answers.set(LOAD, (attr) => {
      types.push(attr.byteLength >= 72 ? attr.getUint32(68, true) : 0);
      return undefined;
    });
    fake.answers.set(LINK, (attr) => {
      if (attr.getUint32(8, true) === MULTI) return -errno;
      cookies.push(attr.byteLength >= 24 ? attr.getBigUint64(16, true) : undefined);
      return undefined;
    });
    fake.onPerfEventOpen = (attr) => {
      addresses.push(attr.getBigUint64(64, true));
      assert.is(attr.getBigUint64(56, true), 0n);
      return undefined;
    };
    const link = attachTo(fake, 'tcp_*');
    assert.equal(types, [MULTI, 0], 'the probe, then the program');
    assert.equal(addresses, [0xffff_ffff_8100_0010n, 0xffff_ffff_8100_0020n, 0xffff_ffff_c000_0010n]);
    assert.equal(cookies, [undefined, 1n, 2n]);
    assert.is(link.multi?.method, 'kprobe');
    assert.is(link.multi?.functions.length, 3);
    link.close();
    assert.is(fake.open.size, 0);
  });

test('bad names, no names and bad cookies are errors of the hook', () => {
  for (const [functions, message] of [
    [[], /kprobe.multi has no function/],
    ['tcp_close+4', /only a kprobe has an offset/],
    ['0xffffffff81000010', /it takes names and patterns/],
    [{ tcp_close: -1 }, /the cookie -1 is no unsigned 64-bit number/],
    [{ tcp_close: 1.5 }, /the cookie 1\.5 is no unsigned 64-bit number \(.*kprobe-multi\.test\.ts:\d+\)$/],
    ['tcp close', /is no kernel function/],
  ] as const)
    assert.throws(() => kprobeMulti(functions as Functions, target('x64'), () => {}), message);
});

test.run();
