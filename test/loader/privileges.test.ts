/** dropPrivileges on a fake kernel: the filter, run by an interpreter, and the remaining capabilities. */
import * as assert from 'uvu/assert';
import { architectures } from '../../src/asm/architecture.ts';
import { assembleClassic } from '../../src/asm/classic.ts';
import { systemCallNumber } from '../../src/asm/system-calls.ts';
import { target } from '../../src/asm/target.ts';
import { Errno } from '../../src/loader/errno.ts';
import { NotPermittedError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { kernelError } from '../../src/loader/permission.ts';
import { seccompFilter } from '../../src/loader/privileges/filter.ts';
import { type CapabilityName, dropPrivileges } from '../../src/loader/privileges.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/privileges');

const ALLOW = 0x7fff_0000;
const EPERM = 0x0005_0001;

/** Runs a filter on `struct seccomp_data`: an interpreter of the few instructions that filters have. */
function run(program: Uint8Array, nr: number, arch: number, argument = 0n): number {
  const data = new DataView(new ArrayBuffer(64));
  data.setInt32(0, nr, true);
  data.setUint32(4, arch, true);
  data.setBigUint64(16, argument, true);
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  let accumulator = 0;
  for (let at = 0; ; at += 8) {
    const [code, jt, jf] = [view.getUint16(at, true), view.getUint8(at + 2), view.getUint8(at + 3)];
    const k = view.getUint32(at + 4, true);
    if (code === 0x20) accumulator = data.getUint32(k, true);
    else if (code === 0x15) at += 8 * (accumulator === k ? jt : jf);
    else if (code === 0x35) at += 8 * (accumulator >= k ? jt : jf);
    else if (code === 0x05) at += 8 * k;
    else if (code === 0x06) return k;
    else throw new Error(`opcode 0x${code.toString(16)}`);
  }
}

const DENIED = [
  ...['ptrace', 'process_vm_readv', 'process_vm_writev', 'execve', 'execveat'],
  ...['init_module', 'finit_module', 'delete_module', 'kexec_load', 'kexec_file_load'],
  ...['mount', 'umount2', 'pivot_root', 'mount_setattr', 'open_tree', 'open_tree_attr', 'move_mount'],
  ...['fsopen', 'fsconfig', 'fsmount', 'fspick'],
];
const ALLOWED = ['read', 'write', 'ioctl', 'openat', 'clone', 'clone3', 'futex', 'capset', 'mmap', 'close'];

for (const name of ['x64', 'arm64'] as const)
  for (const perfEvents of [true, false])
    test(`the filter of ${name} ${perfEvents ? 'with' : 'without'} perf events decides each call`, () => {
      const { audit } = architectures[name];
      const on = target(name);
      const filter = assembleClassic(seccompFilter(architectures[name], { perfEvents }));
      const numbers = new Map(DENIED.map((each) => [systemCallNumber(on, each), each]));
      if (!perfEvents) numbers.set(systemCallNumber(on, 'perf_event_open'), 'perf_event_open');
      for (let nr = 0; nr < 1000; nr++)
        assert.is(run(filter, nr, audit, 1n), numbers.has(nr) ? EPERM : ALLOW, `${nr}`);
      for (const each of ALLOWED) assert.is(run(filter, systemCallNumber(on, each), audit), ALLOW, each);
      const bpf = systemCallNumber(on, 'bpf');
      const commands = Array.from({ length: 64 }, (_, command) => command);
      assert.equal(
        commands.filter((command) => run(filter, bpf, audit, BigInt(command)) === EPERM),
        [0, 5, 18], // BPF_MAP_CREATE, BPF_PROG_LOAD, BPF_BTF_LOAD
      );
      assert.is(run(filter, bpf, audit, 0xffff_ffff_0000_0005n), EPERM, 'the kernel ignores the high half');
    });

test('calls of foreign ABIs are denied: i386, x32, arm', () => {
  const x64 = assembleClassic(seccompFilter(architectures.x64, { perfEvents: true }));
  const [I386, ARM] = [0x4000_0003, 0x4000_0028];
  const { audit } = architectures.x64;
  for (const nr of [0, 1, 11]) {
    assert.is(run(x64, nr, I386), EPERM);
    assert.is(run(x64, nr | 0x4000_0000, audit), EPERM);
    assert.is(run(x64, nr, audit), ALLOW);
  }
  const arm64 = assembleClassic(seccompFilter(architectures.arm64, { perfEvents: true }));
  assert.is(run(arm64, 0, ARM), EPERM);
  assert.is(run(arm64, 0, audit), EPERM);
});

/** The numbers of capabilities (man 7 capabilities). */
const [DAC_READ_SEARCH, IPC_LOCK, SYS_PTRACE, SYS_ADMIN, PERFMON, BPF] = [2, 14, 19, 21, 38, 39];

const bits = (...capabilities: number[]) => capabilities.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
const ALL = 0x1ff_ffff_ffffn;

interface Machine {
  readonly effective?: bigint;
  readonly possible?: string;
  readonly paranoid?: number;
  readonly keep?: readonly CapabilityName[];
}

/** Drops the privileges of a process on a fake machine with CPUs 0 and 1 online. */
function drop(
  { effective = ALL, possible = '0-1', paranoid = 2, keep }: Machine = {},
  fake = new FakeSyscalls(),
) {
  fake.files.set('/proc/self/status', `Name:\tfake\nCapEff:\t${effective.toString(16).padStart(16, '0')}\n`);
  fake.files.set('/sys/devices/system/cpu/possible', `${possible}\n`);
  fake.files.set('/proc/sys/kernel/perf_event_paranoid', `${paranoid}\n`);
  const sets: bigint[] = [];
  fake.onCapset = (data) => {
    for (const set of [0, 4, 8])
      sets.push(BigInt(data.getUint32(set, true)) | (BigInt(data.getUint32(set + 12, true)) << 32n));
    return 0;
  };
  const kernel = new Kernel(fake);
  const result = dropPrivileges(kernel, { keep });
  return { fake, kernel, result, sets, names: result.kept.map(({ name }) => name).join() };
}

test('the filter comes first, for all threads, and then capset for this one', () => {
  const { fake, result, sets } = drop();
  assert.equal(fake.calls, ['no_new_privs', 'seccomp 1 5', 'capset']);
  assert.equal(result, { perfEvents: false, kept: [{ name: 'CAP_BPF', reason: 'map access' }] });
  assert.equal(sets, [bits(BPF), bits(BPF), 0n], 'effective, permitted, inheritable');
});

test('the filter is passed as struct sock_fprog', () => {
  const fake = new FakeSyscalls();
  const seen: Uint8Array[] = [];
  fake.onSeccomp = (_, program) => {
    const filter = fake.at(program.getBigUint64(8, true));
    assert.is(program.getUint16(0, true), filter.length / 8);
    seen.push(filter);
    return 0;
  };
  drop({}, fake);
  assert.equal(seen, [assembleClassic(seccompFilter(new Kernel(fake).architecture, { perfEvents: false }))]);
});

for (const [what, machine, names, set] of [
  [
    'CPUs that can come online',
    { possible: '0-3' },
    'CAP_BPF,CAP_PERFMON,CAP_IPC_LOCK',
    bits(BPF, PERFMON, IPC_LOCK),
  ],
  [
    'CPUs that can come online and perf_event_paranoid 3',
    { possible: '0-3', paranoid: 3 },
    'CAP_BPF,CAP_SYS_ADMIN,CAP_IPC_LOCK',
    bits(BPF, SYS_ADMIN, IPC_LOCK),
  ],
  ['perf_event_paranoid 3 without such CPUs', { paranoid: 3 }, 'CAP_BPF', bits(BPF)],
  ['a kernel without CAP_BPF', { effective: 0x3f_ffff_ffffn }, 'CAP_SYS_ADMIN', bits(SYS_ADMIN)],
  [
    'a kernel without CAP_BPF, and such CPUs',
    { effective: 0x3f_ffff_ffffn, possible: '0-3' },
    'CAP_SYS_ADMIN,CAP_IPC_LOCK',
    bits(SYS_ADMIN, IPC_LOCK),
  ],
  [
    'capabilities of the caller',
    { keep: ['CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH'] as const },
    'CAP_BPF,CAP_SYS_PTRACE,CAP_DAC_READ_SEARCH',
    bits(BPF, SYS_PTRACE, DAC_READ_SEARCH),
  ],
  [
    'capabilities that the process lacks',
    { effective: bits(BPF, PERFMON), keep: ['CAP_SYS_PTRACE'] as const },
    'CAP_BPF',
    bits(BPF),
  ],
  ['no capability', { effective: 0n }, '', 0n],
] as const)
  test(`${what}: kept are ${names || 'none'}`, () => {
    const { names: kept, sets, result } = drop(machine);
    assert.is(kept, names);
    assert.equal(sets, [set, set, 0n]);
    assert.is(result.perfEvents, 'possible' in machine);
  });

test('without SECCOMP_FILTER_FLAG_SPEC_ALLOW (before Linux 4.17) the filter is installed without it', () => {
  const fake = new FakeSyscalls();
  fake.onSeccomp = (flags) => (flags === 1 ? 0 : -Errno.EINVAL);
  const { result } = drop({}, fake);
  assert.equal(fake.calls, ['no_new_privs', 'seccomp 1 5', 'seccomp 1 1', 'capset']);
  assert.is(result.filterError, undefined);
});

for (const [what, refuse, message] of [
  [
    'no seccomp filters',
    (fake: FakeSyscalls) => (fake.onSeccomp = () => -Errno.EINVAL),
    /CONFIG_SECCOMP_FILTER/,
  ],
  ['no seccomp(2)', (fake: FakeSyscalls) => (fake.onSeccomp = () => -Errno.ENOSYS), /Linux 3\.17/],
  [
    'a container',
    (fake: FakeSyscalls) => (fake.onSeccomp = () => -Errno.EPERM),
    /a container or a security mod/,
  ],
  [
    'another filter',
    (fake: FakeSyscalls) => (fake.onSeccomp = () => 4711),
    /thread 4711 has another filter$/,
  ],
  [
    'no no_new_privs',
    (fake: FakeSyscalls) => (fake.onNoNewPrivileges = () => -Errno.EINVAL),
    /prctl\(PR_SET_NO_NEW/,
  ],
] as const)
  test(`${what}: the result has the error, and capabilities are still dropped`, () => {
    const fake = new FakeSyscalls();
    refuse(fake);
    const { result, sets } = drop({}, fake);
    assert.match(result.filterError?.message ?? '', /^cannot install a seccomp filter: /);
    assert.match(result.filterError?.message ?? '', message);
    assert.is(result.perfEvents, true);
    assert.equal(sets, [bits(BPF), bits(BPF), 0n]);
  });

test('if capset fails, or /proc is not mounted, the result has the error', () => {
  const refusing = new FakeSyscalls();
  Object.defineProperty(refusing, 'onCapset', { get: () => () => -Errno.EPERM, set() {} });
  assert.match(
    drop({}, refusing).result.capabilityError?.message ?? '',
    /^cannot drop capabilities: capset: EPERM/,
  );
  const fake = new FakeSyscalls();
  fake.files.delete('/proc/self/status');
  const { capabilityError } = dropPrivileges(new Kernel(fake));
  assert.match(capabilityError?.message ?? '', /^cannot drop capabilities: open: ENOENT/);
  assert.not.match(fake.calls.join(), /capset/);
});

test('without /sys there are no rings to open, and perf events are denied', () => {
  const fake = new FakeSyscalls();
  fake.files.delete('/sys/devices/system/cpu/online');
  assert.is(dropPrivileges(new Kernel(fake)).perfEvents, false);
});

test('a capability with an unknown name throws before anything is dropped', () => {
  const fake = new FakeSyscalls();
  const drop = () => dropPrivileges(new Kernel(fake), { keep: ['CAP_ALL' as CapabilityName] });
  assert.throws(
    drop,
    /there is no capability 'CAP_ALL'; use names such as .* \(.*privileges\.test\.ts:\d+\)$/,
  );
  assert.equal(fake.calls, []);
});

test('later errors say that privileges were dropped', () => {
  const failure = { syscall: 'bpf(BPF_PROG_LOAD)', errno: Errno.EPERM, tried: "load the program 'a'" };
  const { kernel } = drop();
  const error = kernelError(kernel, failure);
  assert.instance(error, NotPermittedError);
  assert.match(error.message, /: this process has dropped its privileges \(dropPrivileges\)$/);
  assert.not.match(kernelError(new Kernel(new FakeSyscalls()), failure).message, /dropped/);
});

test.run();
