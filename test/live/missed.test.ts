/**
 * Runs that the kernel skips, provoked on purpose: every skipped run is counted, or its program is reported
 * as uncounted.
 */
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { getCurrentComm, getCurrentPidTgid } from '../../src/asm/helpers.ts';
import { type Body, kprobe, kretprobe, rawTracepoint, tracepoint } from '../../src/asm/hooks.ts';
import { chars } from '../../src/asm/layout.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import { type Target, target } from '../../src/asm/target.ts';
import type { Kernel } from '../../src/loader/kernel.ts';
import { kprobesUnsupportedReason } from '../../src/loader/kprobe-events.ts';
import { measureRuns } from '../../src/loader/program.ts';
import { Session } from '../../src/loader/session.ts';
import { readTracepointFormat, tracefsRoot } from '../../src/loader/tracefs.ts';
import { needsRoot, suite } from '../harness.ts';
import { exited } from './connects.ts';
import { withoutPmu } from './kernels.ts';
import { isReleased } from './release.ts';
import { here } from './tracer.ts';

const test = suite('live/missed', { seconds: 60 });

const noKprobes = needsRoot || (kprobesUnsupportedReason(here)?.message ?? false);
const noPmu = noKprobes || (here.kprobePmu === undefined && 'this kernel has no perf PMU for kprobes');
const noTracefs = noKprobes || (!tracefsRoot(here) && 'tracefs is not mounted');
/** Whether the kernel counts runs skipped at kprobes and classic tracepoints. */
const counts = isReleased('6.7');

const GETUID = process.arch === 'arm64' ? '__arm64_sys_getuid' : '__x64_sys_getuid';
/** How often each test triggers its event. */
const TIMES = 20;

/**
 * Runs `work` and returns the runs of the programs, the counted skipped runs and the programs with uncounted
 * ones.
 */
async function watch(kernel: Kernel, programs: readonly ProgramSpec[], work: () => unknown) {
  const measured = measureRuns(kernel);
  const session = Session.open({ name: 'missed', programs }, { kernel });
  try {
    await work();
    session.detach();
    const { counted, uncounted } = session.missedRuns();
    return {
      runs: session.programs.map((program) => program.info().runs),
      counted,
      uncounted: uncounted.map(({ spec }) => spec.name),
    };
  } finally {
    session.close();
    measured.close();
  }
}

/** Calls a helper if this process triggered the program. */
const outer: Body = (b) => {
  b.if(b.call(getCurrentPidTgid).rsh(32).ne(process.pid), () => b.exit());
  b.call(getCurrentComm, b.stack(chars(16)));
};
/** The kernel function of this helper. */
const HELPER = 'bpf_get_current_comm';

const RENAME = ['task', 'task_rename'] as const;
function withRecord(): Target {
  return { ...target(process.arch), formats: [readTracepointFormat(here, ...RENAME)] };
}
const plain = target(process.arch);
const name = { name: 'outer' };

const getuid = (): unknown => process.getuid?.();
/** Renames this process to its own name. */
const rename = (): void =>
  writeFileSync('/proc/self/comm', readFileSync('/proc/self/comm', 'utf8').trimEnd());

interface Case {
  /** The hook of the program that calls the helper. */
  readonly at: string;
  readonly program: () => ProgramSpec;
  /** Triggers the program. */
  readonly event: () => unknown;
  /** Whether the program at the helper runs, too. */
  readonly runs?: true;
  readonly needs?: string | false;
}

/**
 * The kernel skips a kprobe that is hit while it handles another. Programs of kprobes and classic tracepoints
 * also skip each other; programs of raw tracepoints do not take part.
 */
const CASES: readonly Case[] = [
  { at: 'kprobe', program: () => kprobe(GETUID, plain, outer, name), event: getuid },
  { at: 'kretprobe', program: () => kretprobe(GETUID, plain, outer, name), event: getuid },
  {
    at: 'classic tracepoint',
    program: () => tracepoint(...RENAME, withRecord(), outer, name),
    event: rename,
    needs: noTracefs,
  },
  {
    at: 'raw tracepoint',
    program: () => rawTracepoint('sys_enter', plain, outer, name),
    event: getuid,
    runs: true,
  },
];

for (const { at, program, event, runs, needs } of CASES)
  for (const [kind, probe] of Object.entries({ kprobe, kretprobe }))
    for (const [by, kernel, reason] of [
      ['the PMU', () => here, needs || noPmu],
      ['tracefs', withoutPmu, noTracefs],
    ] as const)
      test.skipIf(
        noKprobes || reason,
        `a ${kind} by ${by} hit while the program of a ${at} runs ${runs ? 'runs, too' : 'is skipped'}`,
        async () => {
          const inner = probe(HELPER, plain, (b) => b.exit(), { name: 'inner' });
          const seen = await watch(kernel(), [inner, program()], () => {
            for (let i = 0; i < TIMES; i++) event();
          });
          const [atHelper = Number.NaN, calling = Number.NaN] = seen.runs;
          assert.ok(calling >= TIMES, `${calling} runs of the calling program`);
          if (runs) assert.ok(atHelper >= TIMES, `${atHelper} runs`);
          else assert.is(atHelper, 0);
          assert.is(seen.counted, counts && !runs ? TIMES : 0);
          const uncounted = counts ? [] : isReleased('5.12') && runs ? ['inner'] : ['inner', 'outer'];
          assert.equal(seen.uncounted, uncounted);
        },
      );

test.skipIf(
  noKprobes,
  'returns beyond the concurrent calls that a kretprobe tracks are skipped',
  async () => {
    const sleeps = 40;
    const programs = [
      kretprobe('hrtimer_nanosleep', plain, (b) => b.exit(), { name: 'returns' }),
      kprobe('hrtimer_nanosleep', plain, (b) => b.exit(), { name: 'calls' }),
    ];
    const seen = await watch(here, programs, () =>
      exited(spawn('sh', ['-c', `for i in $(seq ${sleeps}); do sleep 2 & done; wait`])),
    );
    const [returns = Number.NaN, calls = Number.NaN] = seen.runs;
    assert.ok(calls >= sleeps, `${calls} calls`);
    assert.ok(returns < calls, `${returns} returns of ${calls} calls`);
    assert.is(seen.counted, counts ? calls - returns : 0);
    assert.equal(seen.uncounted, counts ? [] : ['returns', 'calls']);
  },
);

test.run();
