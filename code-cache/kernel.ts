/**
 * The kernels of the runs that fill code caches (code-cache/make.mjs): fixed ones, so that the code does not
 * depend on the machine of the build.
 */
import { UnknownArchitectureError } from '../src/asm/architecture.ts';
import { prebuiltText } from '../src/cli/prebuild.ts';
import { Errno } from '../src/loader/errno.ts';
import { Kernel } from '../src/loader/kernel.ts';
import { FakeSyscalls } from '../test/loader/fake.ts';
import { socketBlob } from '../test/programs/kernel.ts';

/** The files of a kernel: bytes by path. */
type Files = Readonly<Record<string, Uint8Array>>;

/** An ELF note with the name GNU, the type NT_GNU_BUILD_ID and four bytes. */
const BUILD_ID = new Uint32Array([4, 4, 3, 0x554e47, 0x1234]);
/** AT_PAGESZ is 4096; AT_NULL. */
const AUXILIARY_VECTOR = new BigUint64Array([6n, 4096n, 0n, 0n]);

const bytesOf = ({ buffer }: BigUint64Array | Uint32Array) => new Uint8Array(buffer);

/** A kernel without kprobes, seen by root. */
const WITHOUT_KPROBES: Files = {
  '/proc/net/if_inet6': Buffer.from(''),
  '/proc/self/auxv': bytesOf(AUXILIARY_VECTOR),
  '/proc/self/fdinfo/0': Buffer.from('pos:\t0\nflags:\t0100000\n'),
  '/proc/self/mounts': Buffer.from('none /proc proc rw 0 0\nnone /sys sysfs rw 0 0\n'),
  '/proc/self/status': Buffer.from('Name:\ttcpconnlat\nCapEff:\t000001ffffffffff\n'),
  '/proc/sys/kernel/osrelease': Buffer.from('6.18.0\n'),
  '/proc/sys/kernel/perf_event_paranoid': Buffer.from('2\n'),
  '/sys/devices/system/cpu/online': Buffer.from('0-1\n'),
  '/sys/devices/system/cpu/possible': Buffer.from('0-1\n'),
  '/sys/kernel/btf/vmlinux': socketBlob(),
  '/sys/kernel/notes': bytesOf(BUILD_ID),
};

const KPROBES: Files = {
  ...WITHOUT_KPROBES,
  '/sys/bus/event_source/devices/kprobe/type': Buffer.from('8\n'),
};

/** A kernel for a run: its files in base64, and the text of the programs for it. */
interface RunKernel {
  readonly kernel: Readonly<Record<string, string>>;
  readonly prebuilt: string;
}

async function kernelWith(files: Files): Promise<RunKernel> {
  const fake = new FakeSyscalls();
  fake.readFile = (path) => files[path] ?? -Errno.ENOENT;
  const encoded = Object.entries(files).map(([path, bytes]) => [path, Buffer.from(bytes).toString('base64')]);
  return { kernel: Object.fromEntries(encoded), prebuilt: await programsFor(new Kernel(fake)) };
}

/** The text of the programs for a kernel. There are none for other processors: a build there succeeds, too. */
async function programsFor(kernel: Kernel): Promise<string> {
  try {
    return await prebuiltText(kernel);
  } catch (error) {
    if (error instanceof UnknownArchitectureError) return '';
    throw error;
  }
}

/** The kernels: with kprobes and without. */
export async function kernels(): Promise<readonly RunKernel[]> {
  return Promise.all([KPROBES, WITHOUT_KPROBES].map(kernelWith));
}
