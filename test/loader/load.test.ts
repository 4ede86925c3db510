import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { Btf } from '../../src/asm/btf.ts';
import { exit, loadFunction, loadMap, loadMapValue, mov } from '../../src/asm/constructors.ts';
import type { SubprogramCode } from '../../src/asm/instruction.ts';
import { u64 } from '../../src/asm/layout.ts';
import { array } from '../../src/asm/map.ts';
import type { Attachment, ProgramSpec } from '../../src/asm/program.ts';
import { r0, r1, r2 } from '../../src/asm/registers.ts';
import { Errno } from '../../src/loader/errno.ts';
import { KernelError, NoSuchSymbolError, NotPermittedError, VerifierError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { BpfMap } from '../../src/loader/map.ts';
import type { Program } from '../../src/loader/program.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/load');

const LOAD = 5;
const kprobe: Attachment = { kind: 'kprobe', symbol: 'tcp_v4_connect' };
const tpBtf: Attachment = { kind: 'tp_btf', tracepoint: 'sched_switch', btfId: 4711 };
const kretprobe: Attachment = { kind: 'kretprobe', symbol: 'tcp_v4_connect' };
const fexit: Attachment = { kind: 'fexit', symbol: 'tcp_v4_connect', btfId: 815 };
const fentry: Attachment = { kind: 'fentry', symbol: 'tcp_v4_connect', btfId: 815 };
const record: Attachment = { kind: 'tracepoint', category: 'sched', tracepoint: 'sched_switch' };
const raw: Attachment = { kind: 'raw_tracepoint', tracepoint: 'sched_switch' };

function load(fake: FakeSyscalls, attachment: Attachment = raw): Program {
  const spec: ProgramSpec = { name: 'on_switch', attachment, instructions: [mov(r0, 0), exit()] };
  return loadProgram(new Kernel(fake), spec, assemble(spec.instructions), new Map());
}

/** The fields of an attribute, by name. */
function asked(attr: DataView): string {
  const name = attr.byteLength > 48 ? Buffer.from(attr.buffer, 48, 16).toString().replaceAll('\0', '') : '';
  const log = attr.getUint32(24, true) === 0 ? 'no log' : `log of ${attr.getUint32(28, true)}`;
  return [log, name, attr.getUint32(40, true) ? `version ${attr.getUint32(40, true).toString(16)}` : '']
    .filter(Boolean)
    .join(', ');
}

/** A kernel that answers with `reply`, and records the attributes. */
function scripted(
  reply: (attr: DataView, fake: FakeSyscalls) => number | undefined,
): [FakeSyscalls, string[]] {
  const fake = new FakeSyscalls();
  const seen: string[] = [];
  fake.answers.set(LOAD, (attr) => {
    seen.push(asked(attr));
    return reply(attr, fake);
  });
  return [fake, seen];
}

function writeLog(fake: FakeSyscalls, attr: DataView, text: string): void {
  if (attr.getUint32(24, true) > 0) fake.at(attr.getBigUint64(32, true)).set(Buffer.from(`${text}\0`));
}

for (const [attachment, type, attachType, btfId] of [
  [kprobe, 2, 0, 0],
  [raw, 17, 0, 0],
  [record, 5, 0, 0],
  [tpBtf, 26, 23, 4711],
  [fentry, 26, 24, 815],
  [kretprobe, 2, 0, 0],
  [fexit, 26, 25, 815],
] as const)
  test(`a ${attachment.kind} program is loaded as type ${type}, with the log off`, () => {
    const [fake, seen] = scripted((attr) => {
      assert.is(attr.getUint32(0, true), type);
      assert.is(attr.getUint32(4, true), 2);
      assert.is(fake.at(attr.getBigUint64(8, true)).length, 16);
      assert.is(fake.textAt(attr.getBigUint64(16, true)), 'Dual MIT/GPL');
      assert.is(attr.getBigUint64(32, true), 0n, 'no log buffer without a level');
      if (btfId === 0) assert.is(attr.byteLength, 64);
      else assert.equal([attr.getUint32(68, true), attr.getUint32(108, true)], [attachType, btfId]);
      return undefined;
    });
    const program = load(fake, attachment);
    assert.equal(seen, ['no log, on_switch']);
    program.close();
    assert.is(fake.open.size, 0);
  });

test('the descriptors of maps are inserted, and offsets into their values stay', () => {
  const fake = new FakeSyscalls();
  const kernel = new Kernel(fake);
  const counts = array('counts', { value: u64, maxEntries: 1 });
  const map = BpfMap.create(kernel, counts);
  let bytes = '';
  fake.answers.set(LOAD, (attr) => {
    bytes = Buffer.from(fake.at(attr.getBigUint64(8, true))).toString('hex');
    return undefined;
  });
  const instructions = [loadMap(r1, counts), loadMapValue(r1, counts, 4), mov(r0, 0), exit()];
  const spec: ProgramSpec = { name: 'count', attachment: raw, instructions };
  const assembled = assemble(instructions);
  loadProgram(kernel, spec, assembled, new Map([[counts, map]]));
  const fd = map.fd.toString(16).padStart(2, '0');
  assert.is(
    bytes,
    `18110000${fd}000000` +
      `0000000000000000` +
      `18210000${fd}000000` +
      `0000000004000000` +
      'b700000000000000' +
      '9500000000000000',
  );
  assert.throws(() => loadProgram(kernel, spec, assembled, new Map()), /uses the map 'counts'/);
});

test('an unknown attachment kind is an error with the source line of the user', () => {
  const fake = new FakeSyscalls();
  for (const kind of ['xdp', 'constructor'])
    assert.throws(
      () => load(fake, { kind, interface: 'lo' } as unknown as Attachment),
      new RegExp(
        `^program 'on_switch' has the unknown attachment kind '${kind}'; tsbpf has tracing programs: kprobe, .*, tracepoint \\(.*load\\.test\\.ts:\\d+\\)$`,
      ),
    );
  assert.equal(fake.calls, []);
});

test('a load interrupted by a signal is retried', () => {
  let attempts = 0;
  const [fake, seen] = scripted(() => (++attempts < 4 ? -Errno.EAGAIN : undefined));
  load(fake);
  assert.is(seen.length, 4);
});

/** Whether an error is a KernelError with this errno that does not mention the verifier. */
function isOnly(error: unknown, code: string): error is KernelError {
  return (
    error instanceof KernelError &&
    !(error instanceof VerifierError) &&
    error.errnoName === code &&
    !/the verifier refused/.test(error.message) &&
    !error.message.includes('\n')
  );
}

const WALK = '0: R1=ctx() R10=fp0\n0: (b7) r0 = 0\n1: (95) exit';

for (const errno of [Errno.EAGAIN, Errno.EINTR])
  test(`a load that is always interrupted (errno ${errno}) ends without blaming the verifier`, () => {
    for (const log of ['', WALK, `${WALK}\nR0 !read_ok\nprocessed 2 insns (limit 1000000)`]) {
      const [fake, seen] = scripted((attr, its) => {
        writeLog(its, attr, log);
        return -errno;
      });
      assert.throws(
        () => load(fake),
        (error: unknown) =>
          isOnly(error, errno === Errno.EAGAIN ? 'EAGAIN' : 'EINTR') &&
          /signals interrupt every check.*stop their sender \(a profiler, an interval timer\)/.test(
            error.message,
          ),
      );
      assert.ok(seen.length > 100, `${seen.length} attempts`);
      assert.equal(
        [...new Set(seen)],
        ['no log, on_switch'],
        'no log is requested after an interrupted check',
      );
    }
  });

for (const [errno, code] of [
  [Errno.EAGAIN, 'EAGAIN'],
  [Errno.ENOMEM, 'ENOMEM'],
  [Errno.EMFILE, 'EMFILE'],
] as const)
  test(`${code} from the load with the log is not a verdict, even with a reason in the log`, () => {
    const [fake] = scripted((attr, its) => {
      writeLog(its, attr, `${WALK}\nR0 !read_ok\nprocessed 2 insns (limit 1000000)`);
      return attr.getUint32(24, true) === 0 ? -Errno.EACCES : -errno;
    });
    assert.throws(
      () => load(fake),
      (error: unknown) => isOnly(error, code),
    );
  });

for (const [errno, code, log, blames] of [
  [Errno.EACCES, 'EACCES', `${WALK}\nR0 !read_ok`, true],
  [Errno.EINVAL, 'EINVAL', `${WALK}\nR0 !read_ok`, true],
  [Errno.EACCES, 'EACCES', WALK, false],
  [Errno.EINVAL, 'EINVAL', 'processed 2 insns (limit 1000000)', false],
  [Errno.EPERM, 'EPERM', `${WALK}\nR0 pointer comparison prohibited`, false],
  [
    Errno.EPERM,
    'EPERM',
    `${WALK}\nR0 pointer comparison prohibited\nprocessed 2 insns (limit 1000000)`,
    true,
  ],
  [Errno.EFAULT, 'EFAULT', WALK, false],
  [Errno.EFAULT, 'EFAULT', `${WALK}\nverifier bug: x\nprocessed 2 insns (limit 1000000)`, true],
  [Errno.ENOSPC, 'ENOSPC', `${WALK}\nR0 !read_ok\nprocessed 2 insns (limit 1000000)`, false],
  [Errno.EBUSY, 'EBUSY', `${WALK}\nR0 !read_ok\nprocessed 2 insns (limit 1000000)`, false],
] as const)
  test(`${code} with '${log.split('\n').slice(3).join('; ')}' is ${blames ? '' : 'not '}the verifier's`, () => {
    const [fake] = scripted((attr, its) => {
      writeLog(its, attr, log);
      return -errno;
    });
    assert.throws(
      () => load(fake),
      (error: unknown) =>
        blames ? error instanceof VerifierError && error.errnoName === code : isOnly(error, code),
    );
  });

test('the log of an interrupted check does not replace a complete one', () => {
  for (const cut of [Errno.EAGAIN, Errno.ENOMEM]) {
    const [fake] = scripted((attr, its) => {
      const size = attr.getUint32(28, true);
      const lines = attr.byteLength > 104 ? attr.getUint32(104, true) : 0;
      writeLog(its, attr, lines > 0 || size > 65_536 ? `${WALK}\nhalf way` : `${WALK}\nR0 !read_ok`);
      if (lines > 0 || size > 65_536) return -cut;
      return -Errno.EACCES;
    });
    assert.throws(
      () => loadProgram(new Kernel(fake), positioned, assemble(positioned.instructions), new Map()),
      (error: unknown) =>
        error instanceof VerifierError &&
        error.errnoName === 'EACCES' &&
        error.summary.reason === 'R0 !read_ok',
    );
  }
});

test('an interrupted load with source lines ends as well', () => {
  const [fake, seen] = scripted(() => -Errno.EAGAIN);
  assert.throws(
    () =>
      loadProgram(new Kernel(fake), positioned, assemble(positioned.instructions), new Map(), {
        debug: true,
      }),
    (error: unknown) => isOnly(error, 'EAGAIN'),
  );
  assert.equal([...new Set(seen)], ['no log, on_switch']);
  assert.is(fake.open.size, 0);
});

test('an invalid program name is refused before the load', () => {
  const fake = new FakeSyscalls();
  const instructions = [mov(r0, 0), exit()];
  for (const name of ['', 'a-b', 'sixteen_letters_', 'ünal'])
    assert.throws(
      () =>
        loadProgram(
          new Kernel(fake),
          { name, attachment: raw, instructions },
          assemble(instructions),
          new Map(),
        ),
      (error: unknown) =>
        error instanceof RangeError &&
        error.message.startsWith(
          `program name '${name}' is invalid: the kernel accepts 1 to 15 characters of [A-Za-z0-9_.] (`,
        ),
    );
  assert.equal(fake.calls, []);
});

test('a refused program is loaded again for its log, and the error has it', () => {
  const [fake, seen] = scripted((attr, fake) => {
    writeLog(fake, attr, '1: (95) exit\nR0 !read_ok\nprocessed 2 insns (limit 1000000)\n');
    return -Errno.EACCES;
  });
  assert.throws(
    () => load(fake),
    (error: unknown) =>
      error instanceof VerifierError &&
      error.program === 'on_switch' &&
      error.errnoName === 'EACCES' &&
      error.summary.slot === 1 &&
      /R0 !read_ok\nprocessed/.test(error.log),
  );
  assert.equal(seen, ['no log, on_switch', 'log of 65536, on_switch']);
});

/** A program with the source line of its first instruction. */
const positioned: ProgramSpec = {
  name: 'on_switch',
  attachment: raw,
  instructions: [{ ...mov(r0, 0), position: { stack: '    at f (/tool.ts:2:3)' } }, exit()],
};

/**
 * Loads the program on a kernel that refuses it with this log, or with `described` if it has source lines.
 */
function refusedWith(
  plain: string,
  described: string,
  describedErrno: number = Errno.EACCES,
): [VerifierError, FakeSyscalls] {
  const [fake] = scripted((attr, fake) => {
    const lines = attr.byteLength > 104 ? attr.getUint32(104, true) : 0;
    writeLog(fake, attr, lines > 0 ? described : plain);
    return lines > 0 ? -describedErrno : -Errno.EACCES;
  });
  fake.files.set('/tool.ts', 'first();\n  second();\n');
  try {
    loadProgram(new Kernel(fake), positioned, assemble(positioned.instructions), new Map());
  } catch (error) {
    if (error instanceof VerifierError) return [error, fake];
    throw error;
  }
  throw new Error('it was loaded');
}

const PLAIN = '0: (b7) r0 = 0\nR0 is wrong\nprocessed 1 insns';
const DESCRIBED = `; second(); @ tool.ts:2\n${PLAIN}`;

test('a refused program is loaded again with its source lines, and nothing stays open', () => {
  const [{ log, locate: find, summary }, fake] = refusedWith(PLAIN, DESCRIBED);
  assert.is(log, DESCRIBED);
  assert.is(summary.reason, 'R0 is wrong');
  assert.is(find({ stack: '    at f (/tool.ts:2:3)' })?.text, '  second();');
  assert.is(fake.open.size, 0);
});

test('if the log with source lines has another reason, the log without them is used', () => {
  assert.is(refusedWith(PLAIN, 'Invalid line_info[0].insn_off\nprocessed 0 insns')[0].log, PLAIN);
  assert.is(refusedWith(PLAIN, DESCRIBED, Errno.E2BIG)[0].log, PLAIN);
});

test('a log without states (before 5.18) is replaced by a level 2 log with the same reason', () => {
  const walk = (states: readonly string[]) =>
    ['0: R1=ctx(id=0)', '0: (b7) r0 = 0', ...states, '1: (95) exit', 'R0 is wrong', 'processed 2 insns'].join(
      '\n',
    );
  for (const [reason, told] of [
    ['R0 is wrong', true],
    ['another', false],
  ] as const) {
    const detailed = walk(['1: R0_w=inv0 R1=ctx(id=0)']).replace('R0 is wrong', reason);
    const [fake] = scripted((attr, fake) => {
      writeLog(fake, attr, attr.getUint32(24, true) === 2 ? detailed : walk([]));
      return -Errno.EACCES;
    });
    assert.throws(
      () => load(fake),
      (error: unknown) =>
        error instanceof VerifierError && error.log.includes('inv0') === told && error.summary.slot === 1,
    );
  }
});

test('a kernel without BTF (before 5.0) gets no source lines', () => {
  const [fake, seen] = scripted((attr, fake) => {
    writeLog(fake, attr, PLAIN);
    return -Errno.EACCES;
  });
  fake.answers.set(18, () => -Errno.EINVAL);
  assert.throws(
    () => loadProgram(new Kernel(fake), positioned, assemble(positioned.instructions), new Map()),
    (error: unknown) => error instanceof VerifierError && error.log === PLAIN,
  );
  assert.is(seen.length, 2);
});

test('with debug, function names and source lines are loaded in records that the kernel accepts', () => {
  const [fake, seen] = scripted((attr) => {
    assert.is(attr.byteLength, 108);
    assert.equal([attr.getUint32(76, true), attr.getUint32(88, true)], [8, 1]);
    assert.equal([attr.getUint32(92, true), attr.getUint32(104, true)], [16, 1]);
    assert.is(fake.at(attr.getBigUint64(80, true)).length, 8);
    assert.is(fake.at(attr.getBigUint64(96, true)).length, 16);
    assert.is(fake.open.has(attr.getUint32(72, true)), true);
    return undefined;
  });
  fake.answers.set(18, (attr) => {
    assert.is(Btf.parse(fake.at(attr.getBigUint64(0, true))).prototype('on_switch').returns?.kind, 'int');
    assert.is(attr.getUint32(16, true), fake.at(attr.getBigUint64(0, true)).length);
    return undefined;
  });
  const assembled = assemble(positioned.instructions);
  loadProgram(new Kernel(fake), positioned, assembled, new Map(), { debug: true }).close();
  assert.equal(seen, ['no log, on_switch']);
  assert.is(fake.open.size, 0);
});

test('with debug, a kernel that refuses BTF gets the program without it', () => {
  for (const answer of [-Errno.EINVAL, undefined]) {
    const [fake, seen] = scripted((attr) => (attr.byteLength > 64 ? -Errno.E2BIG : undefined));
    fake.answers.set(18, () => answer);
    const assembled = assemble(positioned.instructions);
    loadProgram(new Kernel(fake), positioned, assembled, new Map(), { debug: true }).close();
    assert.is(seen.length, answer === undefined ? 2 : 1);
    assert.is(fake.open.size, 0);
  }
});

test('without debug no BTF is loaded', () => {
  const [fake] = scripted(() => undefined);
  loadProgram(new Kernel(fake), positioned, assemble(positioned.instructions), new Map()).close();
  assert.is(fake.calls.includes('bpf 18'), false);
});

test('the log buffer grows, directly to the size that the kernel reports since 6.4', () => {
  for (const [tells, sizes] of [
    [false, [65536, 262144, 1048576]],
    [true, [65536, 700000]],
  ] as const) {
    const [fake, seen] = scripted((attr, fake) => {
      const size = attr.getUint32(28, true);
      if (size === 0) return -Errno.EINVAL;
      if (tells) attr.setUint32(140, 700_000, true);
      writeLog(fake, attr, 'too complex');
      return size < 700_000 ? -Errno.ENOSPC : -Errno.EINVAL;
    });
    assert.throws(() => load(fake), /too complex/);
    assert.equal(
      seen.slice(1),
      sizes.map((size) => `log of ${size}, on_switch`),
    );
  }
});

test('a log that never fits is read from the largest buffer', () => {
  const [fake, seen] = scripted((attr, fake) => {
    writeLog(fake, attr, 'endless');
    return attr.getUint32(24, true) ? -Errno.ENOSPC : -Errno.EINVAL;
  });
  assert.throws(() => load(fake), /endless/);
  assert.is(seen.at(-2), 'log of 16777215, on_switch');
});

test('if the end of the log is lost (before 6.4), a log with statistics only gives the reason', () => {
  const levels: number[] = [];
  const [fake] = scripted((attr, fake) => {
    const level = attr.getUint32(24, true);
    levels.push(level);
    writeLog(fake, attr, level === 4 ? 'BPF program is too large. Processed 1000001 insn' : '0: (b7) r0 = 0');
    return level === 1 ? -Errno.ENOSPC : -Errno.E2BIG;
  });
  assert.throws(
    () => load(fake),
    (error: unknown) =>
      error instanceof VerifierError && error.errnoName === 'E2BIG' && /too large/.test(error.summary.reason),
  );
  assert.is(levels.at(-1), 4);
});

test('if the kernel keeps the end of the log (6.4), it is shown with the first errno', () => {
  const [fake, seen] = scripted((attr, fake) => {
    writeLog(
      fake,
      attr,
      '7: (b7) r0 = 0\nBPF program is too large. Processed 1000001 insn\nprocessed 1000001 insns',
    );
    if (attr.getUint32(24, true) === 0) return -Errno.E2BIG;
    attr.setUint32(140, 30_000_000, true);
    return -Errno.ENOSPC;
  });
  assert.throws(
    () => load(fake),
    (error: unknown) =>
      error instanceof VerifierError && error.errnoName === 'E2BIG' && error.summary.slot === 7,
  );
  assert.equal(
    seen,
    ['no log, on_switch', 'log of 65536, on_switch'],
    'no buffer is large enough for the log',
  );
});

for (const errno of [Errno.E2BIG, Errno.EINVAL])
  test(`a kernel without program names (errno ${errno}) gets none`, () => {
    const [fake, seen] = scripted((attr) =>
      attr.byteLength > 48 && attr.getUint8(48) !== 0 ? -errno : undefined,
    );
    load(fake);
    assert.equal(seen, ['no log, on_switch', 'log of 65536, on_switch', 'no log']);
  });

test('before 5.0 a kprobe program states the kernel version', () => {
  const [fake, seen] = scripted((attr) =>
    attr.getUint32(40, true) === 0x04_13_07 ? undefined : -Errno.EINVAL,
  );
  fake.files.set('/proc/sys/kernel/osrelease', '4.19.7-amd64\n');
  load(fake, kprobe);
  assert.is(seen.at(-1), 'no log, on_switch, version 41307');
});

test('EINVAL without a log suggests an unsupported program type', () => {
  const [fake] = scripted(() => -Errno.EINVAL);
  assert.throws(
    () => load(fake, tpBtf),
    (error: unknown) =>
      error instanceof KernelError &&
      !(error instanceof VerifierError) &&
      /EINVAL.*may not support tp_btf programs/.test(error.message),
  );
});

test('a function that fentry and fexit cannot trace throws NoSuchSymbolError', () => {
  for (const [attachment, errno, log, message] of [
    [{ kind: 'fentry', symbol: 'tcp_v4_connect' }, 0, '', /is not in the kernel's BTF/],
    [{ kind: 'fexit', symbol: 'tcp_v4_connect' }, 0, '', /is not in the kernel's BTF/],
    [fexit, Errno.ENOENT, 'The address of function tcp_v4_connect cannot be found', /has no address/],
    [fentry, Errno.ENOENT, 'The address of function tcp_v4_connect cannot be found', /has no address/],
    [fentry, Errno.EINVAL, 'processed 0 insns (limit 1000000)', /cannot be traced by fentry and fexit/],
    [
      fentry,
      Errno.EINVAL,
      "Attaching tracing programs to function 'tcp_v4_connect' is rejected.\nprocessed 0 insns (limit 1000000)",
      /cannot be traced by fentry and fexit/,
    ],
  ] as const) {
    const [fake] = scripted((attr, fake) => {
      writeLog(fake, attr, log);
      return -errno;
    });
    assert.throws(
      () => load(fake, attachment),
      (error: unknown) =>
        error instanceof NoSuchSymbolError &&
        error.symbol === 'tcp_v4_connect' &&
        message.test(error.message),
    );
    assert.is(fake.open.size, 0);
  }
});

test('other refusals of an fentry program are not a NoSuchSymbolError', () => {
  const [old] = scripted(() => -Errno.EINVAL);
  assert.throws(
    () => load(old, fentry),
    (error: unknown) =>
      error instanceof KernelError &&
      !(error instanceof NoSuchSymbolError) &&
      /may not support fentry programs/.test(error.message),
  );
  for (const log of [
    '0: (95) exit\nR0 !read_ok\nprocessed 1 insns',
    'unreachable insn 3\nprocessed 0 insns',
  ]) {
    const [strict] = scripted((attr, fake) => {
      writeLog(fake, attr, log);
      return -Errno.EACCES;
    });
    assert.throws(
      () => load(strict, fentry),
      (error: unknown) => error instanceof VerifierError,
    );
  }
});

test('EPERM without a log names missing capabilities, or else policies and limits', () => {
  for (const [capabilities, message] of [
    ['0000000000000000', /lacks CAP_BPF and CAP_PERFMON/],
    ['0000008000000000', /lacks CAP_PERFMON \(/],
    ['000000c000000000', /policy forbids the call/],
    ['0000000000200000', /policy forbids the call/],
  ] as const) {
    const [fake] = scripted(() => -Errno.EPERM);
    fake.files.set('/proc/self/status', `CapEff:\t${capabilities}\n`);
    assert.throws(
      () => load(fake),
      (error: unknown) =>
        error instanceof NotPermittedError && message.test(error.message) && !error.message.includes('\n'),
    );
  }
});

test('in a user namespace the error says that its capabilities do not apply', () => {
  for (const [inode, message] of [
    [4026531837n, /policy forbids the call/], // the initial one
    [4026532500n, /: this process is in a user namespace .* run it as root on the host$/],
  ] as const) {
    const [fake] = scripted(() => -Errno.EPERM);
    fake.files.set('/proc/self/status', 'CapEff:\t000001ffffffffff\n');
    fake.inodes.set('/proc/self/ns/user', inode);
    assert.throws(() => load(fake), message);
  }
});

const called: SubprogramCode = { name: 'called', instructions: [mov(r0, 0), exit()] };
const callingBack: ProgramSpec = {
  name: 'calls_back',
  attachment: raw,
  instructions: [loadFunction(r2, called), mov(r0, 0), exit()],
};

test('a program with callbacks is loaded with its BTF, which declares the functions', () => {
  const records: number[] = [];
  const [fake] = scripted((attr) => {
    records.push(attr.byteLength > 88 ? attr.getUint32(88, true) : 0);
    return undefined;
  });
  loadProgram(new Kernel(fake), callingBack, assemble(callingBack.instructions), new Map()).close();
  assert.equal(records, [2]);
  assert.is(fake.open.size, 0);
});

test('a program with callbacks is refused with its BTF; without BTF the reason of the kernel is shown', () => {
  for (const [types, known] of [
    [undefined, [true, true]],
    [-Errno.EINVAL, [false, false]],
  ] as const) {
    const described: boolean[] = [];
    const [fake] = scripted((attr, its) => {
      described.push(attr.byteLength > 88 && attr.getUint32(72, true) > 0);
      writeLog(its, attr, 'R1 !read_ok\nprocessed 1 insns');
      return -Errno.EACCES;
    });
    fake.answers.set(18, () => types);
    assert.throws(
      () => loadProgram(new Kernel(fake), callingBack, assemble(callingBack.instructions), new Map()),
      (error: unknown) => error instanceof VerifierError && error.summary.reason === 'R1 !read_ok',
    );
    assert.equal(described.slice(0, known.length), known);
    assert.is(fake.open.size, 0);
  }
});

test.run();
