/**
 * Every program of every probe in the verifier of this kernel: it loads, and its listing matches the
 * verifier's log.
 */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { listTool } from '../../src/asm/listing.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import { allocate, Command } from '../../src/loader/bpf.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { nativeSyscalls } from '../../src/loader/koffi.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { BpfMap } from '../../src/loader/map.ts';
import type { Syscalls } from '../../src/loader/syscalls.ts';
import { aggregation } from '../../src/programs/tcpconnlat/aggregate.ts';
import type { Filter } from '../../src/programs/tcpconnlat/criteria.ts';
import type { Options } from '../../src/programs/tcpconnlat/options.ts';
import { tcpconnlat } from '../../src/programs/tcpconnlat.ts';
import { suite } from '../harness.ts';
import { isReleased } from '../live/release.ts';
import { ofProcess, PROBE_TYPES, skipReason, targetFor } from '../live/tracer.ts';
import { outsideGuest } from './guest.ts';

/** Offsets in the attribute of BPF_PROG_LOAD, and a size that includes the log fields on every kernel. */
const At = { logLevel: 24, logSize: 28, logBuffer: 32, size: 144 } as const;

/** Log level 2: every instruction at each visit, not only those of the failing path. */
const EVERY_INSTRUCTION = 2;

const log = allocate(4 << 20);

/** The native system calls, with the verifier's log enabled for every program. `log` then holds the log. */
function loggingSyscalls(): Syscalls {
  const native = nativeSyscalls();
  return Object.assign(Object.create(native), {
    bpf(command: number, attr: Uint8Array): number {
      if (command !== Command.progLoad) return native.bpf(command, attr);
      const longer = allocate(At.size);
      longer.set(attr);
      const view = new DataView(longer.buffer);
      view.setUint32(At.logLevel, EVERY_INSTRUCTION, true);
      view.setUint32(At.logSize, log.length, true);
      view.setBigUint64(At.logBuffer, native.address(log), true);
      log.fill(0);
      return native.bpf(command, longer);
    },
  });
}

/**
 * The instruction at each slot in the log, without the register state after it: behind `;`, and since 7.3
 * behind a tab or `//`.
 */
function textsOf(text: string): Map<number, Set<string>> {
  const texts = new Map<number, Set<string>>();
  for (const line of text.split('\n')) {
    const found = /^(\d+): (\([0-9a-f]{2}\) .*?)(?:\s*(?:;|\/\/|\t).*)?$/.exec(line);
    if (!found) continue;
    const slot = Number(found[1]);
    texts.set(slot, (texts.get(slot) ?? new Set()).add(withoutAddress(found[2] as string)));
  }
  return texts;
}

/**
 * The loads of a pointer through one that the verifier trusts. For each, Linux 6.2 and later searches the
 * names of all types, which takes longer than the rest of a program.
 */
function slowLoadsIn(text: string): string[] {
  return text.split('\n').filter((line) => {
    const [, to, from] = /\(79\) r(\d) = \*\(u64 \*\)\(r(\d) /.exec(line) ?? [];
    const isPointer = (register: string | undefined, kind: string) =>
      new RegExp(`\\bR${register}(_\\w+)?=(${kind})ptr_[a-z]`).test(line);
    return isPointer(to, '\\w*') && isPointer(from, 'trusted_|rcu_');
  });
}

/** Replaces map operands: the listing has names, the verifier has addresses. */
function withoutAddress(text: string): string {
  return text.replace(/^(\(18\) r\d+ = ).*$/, '$1a map');
}

/** The listed instructions of each program, by slot, without comments in angle brackets. */
function listed(listing: string): Map<string, Map<number, string>> {
  const programs = new Map<string, Map<number, string>>();
  let current = new Map<number, string>();
  for (const line of listing.split('\n')) {
    const head = /^program (\S+):/.exec(line);
    if (head) {
      current = new Map();
      programs.set(head[1] as string, current);
    }
    const instruction = /^ *(\d+): (?:[0-9a-f]{2} ){8} (\(.*?)(?: <[\w.]+>)?$/.exec(line);
    if (instruction) current.set(Number(instruction[1]), withoutAddress(instruction[2] as string));
  }
  return programs;
}

/** All filters at once. */
const FILTER: Filter = {
  pid: {
    only: [
      [1, 1],
      [300, 400],
    ],
  },
  uid: { not: [[1, 4_294_967_294]] },
  comm: { only: ['curl', 'a-name-of-15-by'] },
  cgroup: { only: ['/sys/fs/cgroup'] },
  port: {
    only: [
      [80, 80],
      [8000, 8100],
    ],
  },
  to: {
    only: [{ address: Uint8Array.of(10, 0, 0, 0), prefix: 8 }],
    not: [{ address: Uint8Array.of(10, 1, 0, 0), prefix: 16 }],
  },
  from: { not: [{ address: new Uint8Array(16), prefix: 0 }] },
  netns: { only: [[4_026_531_840, 4_026_531_840]] },
};

/** Whether this kernel has atomic compare-and-exchange. */
const compareExchange = isReleased('5.12');

/** Every option that changes the programs. */
const OPTIONS: readonly Omit<Options, 'probe'>[] = [
  {},
  { filter: ofProcess(1), minNs: 1_500_000, localPort: true },
  { family: 4, localPort: true },
  { family: 6, minNs: 2 ** 45 },
  { outcome: 'all' },
  { outcome: 'failures', filter: ofProcess(1), minNs: 1_500_000 },
  { filter: FILTER, family: 4 },
  {
    filter: { ...FILTER, port: { not: [[1, 2]] }, comm: { not: ['a', 'b'] }, uid: { only: [[5, 5]] } },
    outcome: 'all',
  },
  { who: true },
  { who: true, outcome: 'all' },
  { requested: true, filter: { to: FILTER.to, port: FILTER.port } },
  { requested: true, outcome: 'all' },
  { pending: true },
  { aggregate: aggregation({ fields: { address: 'all', port: true }, maxKeys: 100, compareExchange }) },
];

const nameOf = (options: object) => JSON.stringify(options, (_, value) => (isFunction(value) ? 'on' : value));
const isFunction = (value: unknown) => typeof value === 'function';

/** A listing needs no kernel, so it has the number of a kernel function; the verifier has its name, too. */
function withFunctionName(text: string, { btf }: Kernel): string {
  return text.replace(/kernel-function#(\d+)/, (_, id) => {
    const type = btf?.type(Number(id));
    return `${type && 'name' in type ? type.name : '?'}#${id}`;
  });
}

for (const probe of PROBE_TYPES) {
  const skip = outsideGuest || skipReason(probe);
  const test = suite(`lab/programs ${probe}`, { seconds: 30 });

  for (const options of OPTIONS)
    test.skipIf(skip, `the listing of -v matches the verifier's log: ${nameOf(options)}`, () => {
      const kernel = new Kernel(loggingSyscalls());
      const { netns, ...filter } = options.filter ?? {};
      const filtered = probe === 'trace_event' ? filter : { ...filter, netns };
      const tool = tcpconnlat({ ...options, filter: filtered, probe }, targetFor(probe));
      const listing = listed(listTool(tool, () => undefined));
      assert.is(listing.size, tool.programs.length);
      const maps = new Map<MapSpec, BpfMap>();
      try {
        for (const spec of tool.maps) maps.set(spec, BpfMap.create(kernel, spec, { maps }));
        for (const spec of tool.programs) {
          const assembled = assemble(spec.instructions);
          loadProgram(kernel, spec, assembled, maps).close();
          const text = Buffer.from(log.buffer, 0, log.indexOf(0)).toString('latin1');
          assert.equal(slowLoadsIn(text), [], spec.name);
          const logged = textsOf(text);
          const ours = listing.get(spec.name);
          assert.is(ours?.size, assembled.instructions.length, 'the listing must have every instruction');
          // Each slot has one text: two would be an error of this test.
          const differences = [...logged].flatMap(([slot, texts]) => {
            const mine = withFunctionName(ours?.get(slot) ?? '', kernel);
            const theirs = [...texts].join(' | ');
            return mine === theirs ? [] : [`${spec.name}, slot ${slot}: ${mine}, the verifier: ${theirs}`];
          });
          assert.equal(differences, []);
          // Where all facts of an attempt are known, the verifier does not visit what others need.
          if (!options.aggregate) assert.is(logged.size, ours?.size, spec.name);
        }
      } finally {
        for (const map of maps.values()) map.close();
      }
    });

  test.run();
}
