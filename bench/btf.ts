/**
 * From opening the kernel's types to ten members of one structure, in a process that has read none yet; beside bpftool, which prints
 * all of them.
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
  if (!existsSync(VMLINUX)) throw new Error(`this kernel shows no types: there is no ${VMLINUX}`);
  const measures = { members, ...(hasBpftool() ? { dump } : {}) };
  const { members: opened, dump: dumped } = await takeTurns<'members' | 'dump'>(
    ROUNDS,
    measures as { members: typeof members; dump: typeof dump },
  );
  return [
    {
      measure: "open the kernel's types, find 10 members of struct sock",
      figure: ms(opened),
      reference: dumped === undefined ? 'no bpftool here' : `bpftool btf dump, format raw: ${ms(dumped)}`,
      ratio: dumped === undefined ? undefined : opened / dumped,
      bar: ms(BAR_MS),
      met: opened <= BAR_MS,
    },
  ];
}

/** Milliseconds from opening the file to the last member. The library, and what it makes system calls with, are loaded before. */
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

/** Milliseconds from starting bpftool to its end, its output thrown away. */
async function dump(): Promise<number> {
  const begin = performance.now();
  const { status } = spawnSync('bpftool', ['btf', 'dump', 'file', VMLINUX, 'format', 'raw'], {
    stdio: 'ignore',
  });
  if (status !== 0) throw new Error(`bpftool btf dump ended with ${status}`);
  return performance.now() - begin;
}
