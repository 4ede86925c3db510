/**
 * Facts about the running kernel that are not among its features (src/loader/features.ts). `npm run test:vm
 * -- --docs` runs this in a guest; it prints one line of JSON.
 */
import { existsSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { exit } from '../../src/asm/constructors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { noStage, type OutcomeRow, outcomeTable } from '../live/outcomes.ts';
import { verifierLog } from '../live/raw-load.ts';

/** Facts about a kernel. Each row has a title and the result. */
export interface Facts {
  readonly release: string;
  readonly rows: readonly (readonly [title: string, found: string])[];
  /** The outcomes of connects with each probe; absent if the connects cannot be made. */
  readonly outcomes?: readonly OutcomeRow[];
}

const TRACEPOINT = 'inet_sock_set_state';

const kernel = new Kernel();

/** The kernel's BTF: bytes and number of types. */
function describeTypes(): string {
  const bytes = kernel.syscalls.readFile('/sys/kernel/btf/vmlinux');
  if (typeof bytes === 'number' || !kernel.btf) return 'no';
  return `${(bytes.length / 2 ** 20).toFixed(1)} MiB, ${kernel.btf.count} types`;
}

/** The format of the log's end for a refused program. */
function logForm(): string {
  const lines = verifierLog(kernel, [exit()]).trim().split('\n');
  const reason = lines.findIndex((line) => line.startsWith('Verification failed'));
  return reason < 0 ? 'reason before the statistics' : 'paragraph "Verification failed:"';
}

const there = (path: string): string => (existsSync(path) ? 'yes' : 'no');

/** Finds all facts. Needs root. */
function gather(): Facts {
  const mapped = kernel.syscalls.mapFile('/sys/kernel/btf/vmlinux');
  return {
    release: kernel.release,
    rows: [
      ['kprobes through tracefs (`kprobe_events`)', there('/sys/kernel/tracing/kprobe_events')],
      [
        '`format` file of a tracepoint (tracefs)',
        there(`/sys/kernel/tracing/events/sock/${TRACEPOINT}/format`),
      ],
      ['size of vmlinux BTF', describeTypes()],
      ['vmlinux BTF can be mapped (mmap)', typeof mapped === 'number' ? 'no' : 'yes'],
      ['verifier log ends with', logForm()],
      ['MPTCP', there('/proc/sys/net/mptcp/enabled')],
    ],
  };
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const outcomes = noStage() ? undefined : await outcomeTable();
  console.log(JSON.stringify({ ...gather(), outcomes } satisfies Facts));
}
