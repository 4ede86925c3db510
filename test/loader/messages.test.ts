/**
 * The messages of refused calls, each provoked by its errno: what they must say, and what would mislead.
 */
import { assemble } from '../../src/asm/assemble.ts';
import { exit, mov } from '../../src/asm/constructors.ts';
import type { Feature } from '../../src/asm/kernel-features.ts';
import type { Attachment } from '../../src/asm/program.ts';
import { r0 } from '../../src/asm/registers.ts';
import { Errno } from '../../src/loader/errno.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { attach } from '../../src/loader/link.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { openProgram } from '../../src/loader/loaded/find.ts';
import { loadedLinks } from '../../src/loader/loaded/objects.ts';
import { measureRuns, type Program } from '../../src/loader/program.ts';
import { Session } from '../../src/loader/session.ts';
import { readTracepointFormat } from '../../src/loader/tracefs.ts';
import { suite } from '../harness.ts';
import type { FakeSyscalls } from './fake.ts';
import { answering, provokeAll, type Row } from './messages/provoke.ts';

const test = suite('loader/messages');

/** Commands of bpf(2). */
const [MAP_CREATE, LOAD, GET, RUN, RAW_OPEN, LINK, LINK_IDS, STATS] = [0, 5, 7, 10, 17, 28, 31, 32];
/** A command that no kernel has. */
const UNKNOWN = 0x7fff_ffff;
const TRACING = 26;
const kprobe: Attachment = { kind: 'kprobe', symbol: 'do_thing' };
const fentry: Attachment = { kind: 'fentry', symbol: 'do_thing', btfId: 7 };
const raw: Attachment = { kind: 'raw_tracepoint', tracepoint: 'sys_enter' };
const event: Attachment = { kind: 'tracepoint', category: 'sched', tracepoint: 'sched_switch' };

/** The capabilities of root in a container: all but CAP_SYS_RESOURCE (24). */
const WITHOUT_RESOURCE = 'CapEff:\t000001fffeffffff\n';
const TRACEFS = 'tracefs /sys/kernel/tracing tracefs rw 0 0\ndebugfs /sys/kernel/debug debugfs rw 0 0\n';
const SYMBOLS = `\
ffffffff81000010 T do_thing
ffffffff81000020 t twice
ffffffff81000030 t twice
ffffffff81000040 t renamed.isra.0
ffffffff81000050 t twice\t[some_module]
ffffffff82000000 T _sinittext
ffffffff82000010 T at_boot
ffffffff83000000 T _einittext
ffffffffc0000010 t in_module\t[some_module]
`;

function load(fake: FakeSyscalls, attachment: Attachment): [Kernel, Program] {
  const kernel = new Kernel(fake);
  const spec = { name: 'on_it', attachment, instructions: [mov(r0, 0), exit()] };
  return [kernel, loadProgram(kernel, spec, assemble(spec.instructions), new Map())];
}

const attachTo = (attachment: Attachment) => (fake: FakeSyscalls) => attach(...load(fake, attachment));
const loading = (attachment: Attachment) => (fake: FakeSyscalls) => load(fake, attachment);
const probing = (errno: number) => (fake: FakeSyscalls) => {
  fake.files.set('/proc/kallsyms', SYMBOLS);
  fake.files.set('/proc/self/mounts', TRACEFS);
  fake.files.set('/sys/kernel/debug/kprobes/blacklist', '0xffffffff81000010-0xffffffff81000020\tdo_thing\n');
  fake.onPerfEventOpen = () => -errno;
};
/** Refuses fentry programs, or all programs, with EPERM. Maps are created, or not. */
const forbidding = (all: boolean, maps: boolean) => (fake: FakeSyscalls) => {
  fake.files.set('/proc/self/status', WITHOUT_RESOURCE);
  fake.answers.set(LOAD, (attr) => (all || attr.getUint32(0, true) === TRACING ? -Errno.EPERM : undefined));
  if (!maps) fake.answers.set(MAP_CREATE, () => -Errno.EPERM);
};
const withEvent = (errno: number) => (fake: FakeSyscalls) => {
  fake.files.set('/proc/self/mounts', TRACEFS);
  fake.files.set('/sys/kernel/tracing/events/sched/sched_switch/id', '316\n');
  fake.answers.set(LINK, () => -errno);
};

const requiring =
  (...requires: readonly unknown[]) =>
  (fake: FakeSyscalls) =>
    Session.open(
      { name: 't', programs: [], requires: requires as readonly Feature[] },
      { kernel: new Kernel(fake) },
    );

const kprobeOf = (symbol: string) => attachTo({ ...kprobe, symbol });

const ROWS: readonly Row[] = [
  {
    what: 'fentry that a policy forbids, while others load',
    arrange: forbidding(false, true),
    act: loading(fentry),
    says: /EPERM .*this kernel forbids fentry programs, although others load: a security module.*; use a tracepoint or a kprobe$/,
    not: /memory|5\.11/,
  },
  {
    what: 'every program forbidden, without locked-memory accounting',
    arrange: forbidding(true, true),
    act: loading(raw),
    says: /this process has the capabilities, so a policy forbids the call: kernel lockdown .*a security module, or a container/,
    not: /memory|5\.11/,
  },
  {
    what: 'every program and map forbidden by the locked-memory limit',
    arrange: forbidding(true, false),
    act: loading(raw),
    says: /on this kernel \(before Linux 5\.11\) maps and programs count as locked memory: this process may lock 64 KiB and lacks CAP_SYS_RESOURCE/,
    not: /policy/,
  },
  {
    what: 'bpf(2) blocked by the seccomp profile of a container',
    arrange(fake) {
      forbidding(true, false)(fake);
      fake.answers.set(UNKNOWN, () => -Errno.EPERM);
    },
    act: loading(raw),
    says: /the seccomp profile of the container, or a security module, blocks bpf\(2\) .*; use a profile that allows bpf/,
    not: /memory|5\.11|lockdown/,
  },
  {
    what: 'a program type that the kernel does not have',
    arrange: answering(LOAD, Errno.EINVAL),
    act: loading(fentry),
    says: /this kernel may not support fentry programs/,
  },
  {
    what: 'a program that is too long',
    arrange: answering(LOAD, Errno.E2BIG),
    act: loading(raw),
    says: /more instructions than this kernel accepts/,
  },
  {
    what: 'a signal at every attempt',
    arrange: answering(LOAD, Errno.EINTR),
    act: loading(raw),
    says: /signals interrupt every check of the program/,
  },
  {
    what: 'out of descriptors',
    arrange: answering(LOAD, Errno.EMFILE),
    act: loading(raw),
    says: /limit of open files; raise it \(ulimit -n\)/,
  },
  {
    what: 'an unknown function',
    arrange: probing(Errno.ENOENT),
    act: kprobeOf('no_thing'),
    says: /cannot probe the kernel function no_thing: perf_event_open: ENOENT .*this kernel has no such function/,
    not: /cannot be probed:/,
  },
  {
    what: 'a function in the blacklist of kprobes',
    arrange: probing(Errno.EINVAL),
    act: kprobeOf('do_thing'),
    says: /the function exists, but it is in the list of functions that kprobes must not use/,
    not: /no such function/,
  },
  {
    what: 'a function that was freed after booting',
    arrange: probing(Errno.EINVAL),
    act: kprobeOf('at_boot'),
    says: /the function exists, but it ran at boot, and the kernel has freed it/,
  },
  {
    what: 'a name that the compiler changed',
    arrange: probing(Errno.ENOENT),
    act: kprobeOf('renamed'),
    says: /only parts that the compiler renamed: renamed\.isra\.0/,
  },
  {
    what: 'an ambiguous name',
    arrange: probing(Errno.EADDRNOTAVAIL),
    act: kprobeOf('twice'),
    says: /this kernel has 3 functions with this name, at 0xffffffff81000020, 0xffffffff81000030, 0xffffffff81000050 in some_module; choose one by its address: kprobe\('0xffffffff81000020', \.\.\.\), or by its module: 'some_module:twice'/,
  },
  {
    what: 'a module that is not loaded',
    arrange: probing(Errno.ENOENT),
    act: kprobeOf('other_module:f'),
    says: /the module other_module is not loaded; load it first: modprobe other_module/,
  },
  {
    what: 'a function of another module',
    arrange: probing(Errno.ENOENT),
    act: kprobeOf('some_module:do_thing'),
    says: /the module some_module has no such function, but the kernel itself has: remove 'some_module:'/,
  },
  {
    what: 'an offset inside an instruction',
    arrange: probing(Errno.EILSEQ),
    act: kprobeOf('do_thing+1'),
    says: /EILSEQ .*no instruction begins there/,
  },
  {
    what: 'fentry of a function in a module, without the module',
    arrange: (fake) => fake.files.set('/proc/kallsyms', SYMBOLS),
    act: loading({ kind: 'fentry', symbol: 'in_module' }),
    says: /it is in the module some_module: write 'some_module:in_module'/,
  },
  {
    what: 'fentry of a function that another tracer has for itself',
    arrange: answering(RAW_OPEN, Errno.EBUSY),
    act: attachTo(fentry),
    says: /another tracer has this function for itself/,
  },
  {
    what: 'fentry of a function with too many programs',
    arrange: answering(RAW_OPEN, Errno.E2BIG),
    act: attachTo(fentry),
    says: /too many programs trace this function/,
  },
  {
    what: 'fentry on an architecture without it',
    arrange: answering(RAW_OPEN, Errno.ENOTSUPP),
    act: attachTo(fentry),
    says: /no fentry and fexit on this architecture .*; use a kprobe$/,
  },
  {
    what: 'a raw tracepoint that does not exist',
    arrange: answering(RAW_OPEN, Errno.ENOENT),
    act: attachTo(raw),
    says: /this kernel has no such tracepoint; see available_events in tracefs$/,
  },
  {
    what: 'an event with too many programs',
    arrange: withEvent(Errno.E2BIG),
    act: attachTo(event),
    says: /an event takes 64 programs, and has as many; close some$/,
  },
  {
    what: 'a classic tracepoint without tracefs',
    arrange: () => {},
    act: (fake) => readTracepointFormat(new Kernel(fake), 'sched', 'sched_switch'),
    says: /needs tracefs, which is not mounted; mount it: mount -t tracefs tracefs \/sys\/kernel\/tracing$/,
  },
  {
    what: 'a pin outside of a BPF file system',
    arrange: (fake) => {
      fake.answers.set(GET, () => -Errno.EACCES);
      fake.fileSystems.set('/tmp/pin', 0x0102_1994);
    },
    act: (fake) => openProgram(new Kernel(fake), { pin: '/tmp/pin' }),
    says: /cannot open the program pinned at \/tmp\/pin: .*the path is not in a BPF file system.*mount -t bpf bpf \/sys\/fs\/bpf$/,
    not: /lockdown|policy/,
  },
  {
    what: 'run-time statistics before Linux 5.8',
    arrange: answering(STATS, Errno.EINVAL),
    act: (fake) => measureRuns(new Kernel(fake)),
    says: /this kernel cannot measure runs on request \(Linux 5\.8 and later\)$/,
  },
  {
    what: 'a test run of another program type',
    arrange: answering(RUN, Errno.ENOTSUPP),
    act: (fake) => load(fake, fentry)[1].run(new Uint8Array(8)),
    says: /the kernel runs only raw tracepoint programs on request \(Linux 5\.10 and later\)$/,
  },
  {
    what: 'a program that is attached to a tracepoint twice',
    arrange: withEvent(Errno.EEXIST),
    act: attachTo(event),
    says: /attach the program 'on_it' to sched_switch: bpf\(BPF_LINK_CREATE\): EEXIST .*is attached there already; load it once more to attach it twice$/,
  },
  {
    what: 'a program that is attached to a raw tracepoint twice',
    arrange: answering(RAW_OPEN, Errno.EEXIST),
    act: attachTo(raw),
    says: /is attached there already; load it once more/,
  },
  {
    what: 'a program that is attached to a function twice by fentry',
    arrange: answering(RAW_OPEN, Errno.EEXIST),
    act: attachTo(fentry),
    says: /the function do_thing: .*is attached there already/,
    not: /kprobe/,
  },
  {
    what: 'a program that reads beyond the record of a tracepoint',
    arrange: withEvent(Errno.EACCES),
    act: attachTo(event),
    says: /EACCES .*the program reads beyond the tracepoint's record; compare it with the format file in tracefs$/,
    not: /policy|lockdown/,
  },
  {
    what: 'a program that reads more arguments than a raw tracepoint has',
    arrange: answering(RAW_OPEN, Errno.EINVAL),
    act: attachTo(raw),
    says: /EINVAL .*the program reads more arguments than the tracepoint has; see its TP_PROTO/,
  },
  {
    what: 'a kprobe whose program overrides results where it must not',
    arrange: (fake) => {
      fake.answers.set(LINK, () => -Errno.EINVAL);
      fake.onIoctl = () => -Errno.EINVAL;
    },
    act: attachTo(kprobe),
    says: /PERF_EVENT_IOC_SET_BPF\): EINVAL .*if the program calls bpf_override_return, the function must allow it/,
  },
  {
    what: 'patterns that match too many functions',
    arrange: (fake) => {
      fake.files.set('/proc/kallsyms', SYMBOLS);
      fake.files.set('/proc/self/mounts', TRACEFS);
      fake.files.set('/sys/kernel/tracing/available_filter_functions', 'do_thing\n');
      fake.answers.set(LINK, () => -Errno.E2BIG);
    },
    act: attachTo({ kind: 'kprobe_multi', functions: ['do_*'] }),
    says: /attach the program 'on_it' to do_\*: .*E2BIG .*the patterns match more functions than one link takes; narrow them$/,
  },
  {
    what: 'an LSM program where the BPF LSM is off',
    arrange: (fake) => fake.files.set('/sys/kernel/security/lsm', 'lockdown,yama'),
    act: attachTo({ kind: 'lsm', symbol: 'bpf_lsm_file_open', btfId: 3 }),
    says: /no active BPF LSM \(Linux 5\.7 and later\): the program 'on_it' would never run; boot with lsm=lockdown,yama,bpf$/,
  },
  {
    what: 'the pin of a link before Linux 5.15',
    arrange: withEvent(Errno.EINVAL),
    act: (fake) => attachTo(event)(fake).pin('/sys/fs/bpf/x'),
    says: /this kernel has no links of perf events \(Linux 5\.15 and later\): kprobes and tracepoints cannot be pinned/,
  },
  {
    what: 'a call that the kernel or a sandbox does not have',
    arrange: answering(LOAD, Errno.ENOSYS),
    act: loading(raw),
    says: /ENOSYS .*this kernel was built without the system call, or a container blocks it \(seccomp\)$/,
  },
  {
    what: 'a test run with a short context',
    arrange: answering(RUN, Errno.EINVAL),
    act: (fake) => load(fake, raw)[1].run(new Uint8Array(8)),
    says: /the program reads more than the 8 bytes of the context; pass 8 bytes for each argument$/,
  },
  {
    what: 'a list of links before Linux 5.8',
    arrange: answering(LINK_IDS, Errno.EINVAL),
    act: (fake) => [...loadedLinks(new Kernel(fake))],
    says: /cannot list the links: .*this kernel cannot list them \(Linux 5\.8 and later\)$/,
  },
  {
    what: 'a declared feature with a misspelled name',
    arrange: () => {},
    act: requiring({ mapType: 'ringbuff' }),
    says: /unknown map type 'ringbuff'; nearest: ringbuf/,
  },
  {
    what: 'a declared feature of an unknown kind',
    arrange: () => {},
    act: requiring({ maptype: 'ringbuf' }),
    says: /unknown kind of feature 'maptype'; nearest: mapType/,
  },
  ...['ringbuf', {}, null].map(
    (feature): Row => ({
      what: `a declared feature that is ${JSON.stringify(feature)}`,
      arrange: () => {},
      act: requiring(feature),
      says: /a feature is an object such as \{ mapType: 'ringbuf' \}, not ('ringbuf'|\{\}|null)/,
    }),
  ),
  {
    what: 'declared features that the kernel lacks',
    arrange: answering(MAP_CREATE, Errno.EINVAL),
    act: requiring({ mapType: 'ringbuf' }, { mapType: 'bloom_filter' }),
    says: /the tool 't' needs 2 features that this kernel does not have: map type ringbuf \(Linux 5\.8 and later\); map type bloom_filter \(Linux 5\.16 and later\)/,
  },
];

provokeAll(test, ROWS);

test.run();
