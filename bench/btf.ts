/**
 * The time from opening the kernel's BTF to ten resolved members of one struct, in a process that has not
 * read it before. The reference is a node that does nothing. bpftool, which prints all types, stands beside
 * it.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { ms, type Row, takeTurns } from './measure.ts';
import { dist, node, runTime } from './process.ts';

const ROUNDS = 15;
const BAR = 0.15;
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
  const hasDump = hasBpftool();
  const { opened, bare, dumped } = await takeTurns(ROUNDS, {
    opened: members,
    bare: () => runTime('-e', '0'),
    dumped: async () => (hasDump ? dump() : Number.NaN),
  });
  const beside = hasDump ? `; bpftool btf dump, format raw: ${ms(dumped)}` : '';
  return [
    {
      measure: 'open kernel BTF, resolve 10 members of struct sock',
      figure: ms(opened),
      reference: `node -e 0: ${ms(bare)}${beside}`,
      ratio: opened / bare,
      bar: `ratio ${BAR}`,
      met: opened / bare <= BAR,
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
