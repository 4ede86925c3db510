/**
 * The time from opening the kernel's BTF to ten resolved members of one struct, in a process that has not
 * read it before. The reference is bpftool, which prints all types.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { ms, type Row, takeTurns } from './measure.ts';
import { dist, node } from './process.ts';

const ROUNDS = 15;
const BAR_MS = 15;
const VMLINUX = '/sys/kernel/btf/vmlinux';

const MEMBERS = [
  '__sk_common.skc_daddr',
  '__sk_common.skc_rcv_saddr',
  '__sk_common.skc_dport',
  '__sk_common.skc_num',
  '__sk_common.skc_family',
  '__sk_common.skc_state',
  '__sk_common.skc_v6_daddr.in6_u.u6_addr32[3]',
  'sk_protocol',
  'sk_err',
  'sk_mark',
];

export async function btf(): Promise<Row[]> {
  if (!existsSync(VMLINUX)) throw new Error(`this kernel has no BTF: ${VMLINUX} is missing`);
  const measures = { members, ...(hasBpftool() ? { dump } : {}) };
  const { members: opened, dump: dumped } = await takeTurns<'members' | 'dump'>(
    ROUNDS,
    measures as { members: typeof members; dump: typeof dump },
  );
  return [
    {
      measure: 'open kernel BTF, resolve 10 members of struct sock',
      figure: ms(opened),
      reference:
        dumped === undefined ? 'bpftool is not installed' : `bpftool btf dump, format raw: ${ms(dumped)}`,
      ratio: dumped === undefined ? undefined : opened / dumped,
      bar: ms(BAR_MS),
      met: opened <= BAR_MS,
    },
  ];
}

/** Milliseconds from opening the file to the last member. The library and koffi are loaded before. */
async function members(): Promise<number> {
  const child = node(
    '--input-type=module',
    '-e',
    `const { Kernel } = await import(${JSON.stringify(pathToFileURL(dist('index.js')).href)});
     const kernel = new Kernel();
     kernel.syscalls.memlock();
     const begin = process.hrtime.bigint();
     for (const path of ${JSON.stringify(MEMBERS)}) kernel.btf.member('sock', path);
     process.stdout.write(String(process.hrtime.bigint() - begin));`,
  );
  const [output] = await once(child.stdout, 'data');
  return Number(output) / 1e6;
}

function hasBpftool(): boolean {
  return spawnSync('bpftool', ['version']).status === 0;
}

/** Milliseconds that bpftool takes, with its output discarded. */
async function dump(): Promise<number> {
  const begin = performance.now();
  const { status } = spawnSync('bpftool', ['btf', 'dump', 'file', VMLINUX, 'format', 'raw'], {
    stdio: 'ignore',
  });
  if (status !== 0) throw new Error(`bpftool btf dump ended with ${status}`);
  return performance.now() - begin;
}
