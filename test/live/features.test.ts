/** The probes of features, on this kernel: what it must have, and what it must not have. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { helperNames, helperSince } from '../../src/asm/helper-names.ts';
import {
  attachTypes,
  type KernelMapType,
  type KernelProgramType,
  mapTypes,
  programTypes,
} from '../../src/asm/kernel-features.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { inGuest, needsRoot, suite } from '../harness.ts';
import { expectedFeatures, type LabKernel } from './expected-features.ts';
import { isReleased, series } from './release.ts';

const test = suite('live/features', { seconds: 60 });

/** The variant of the kernel, whose exceptions apply. Other machines have unknown configurations. */
const here: LabKernel | undefined = inGuest
  ? { series, ...(process.arch === 'arm64' && { variant: 'arm64' }) }
  : existsSync('/sys/bus/event_source/devices/kprobe')
    ? undefined
    : { series, variant: 'host' };

/** Descriptors of this process, and its programs and maps by `bpftool`-like names. */
function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

test.skipIf(
  needsRoot || (!here && 'the configuration of this kernel is not known'),
  'every feature is answered as expected',
  () => {
    const { features } = new Kernel();
    const mistaken = expectedFeatures(here as LabKernel)
      .map(({ feature, name, answer }) => ({ name, answer, support: features.support(feature) }))
      .filter(({ answer, support }) => support.answer !== answer)
      .map(
        ({ name, answer, support }) =>
          `${name} (${support.since}): ${support.answer}, not ${answer}: ${support.reason ?? ''}`,
      );
    assert.equal(mistaken, []);
  },
);

test.skipIf(needsRoot, 'probing leaves no descriptor open', () => {
  const kernel = new Kernel();
  kernel.btf?.find('func', 'bpf_fentry_test1'); // opens nothing later
  const before = openDescriptors();
  for (const { feature } of expectedFeatures({ series })) kernel.features.support(feature);
  kernel.features.helpers('kprobe');
  assert.is(openDescriptors(), before);
});

/** The kernel's own list of numbers, from its BTF. */
function numbersIn(name: string, prefix: string): Map<string, number> {
  const { btf } = new Kernel();
  const id = btf?.find('enum', name);
  const type = id === undefined ? undefined : btf?.type(id);
  assert.ok(type?.kind === 'enum', name);
  return new Map(
    type.values
      .filter((value) => value.name.startsWith(prefix))
      .map((value) => [value.name.slice(prefix.length).toLowerCase(), Number(value.value)]),
  );
}

for (const [name, prefix, table, numberOf] of [
  ['bpf_prog_type', 'BPF_PROG_TYPE_', programTypes, (index: number) => index + 1],
  ['bpf_map_type', 'BPF_MAP_TYPE_', mapTypes, (index: number) => index + 1],
] as const)
  test(`the table of ${name} has the numbers and first kernels of this kernel's BTF`, () => {
    const actual = numbersIn(name, prefix);
    Object.entries(table()).forEach(([type, since], index) => {
      assert.is(actual.get(type), isReleased(since) ? numberOf(index) : undefined, type);
    });
  });

test("the table of attach types has the numbers and first kernels of this kernel's BTF", () => {
  const actual = numbersIn('bpf_attach_type', 'BPF_');
  for (const [type, [number, since]] of Object.entries(attachTypes()))
    assert.is(actual.get(type), isReleased(since) ? number : undefined, type);
});

test("the table of helpers has the numbers and first kernels of this kernel's BTF", () => {
  const actual = numbersIn('bpf_func_id', 'BPF_FUNC_');
  helperNames().forEach((name, id) => {
    if (id > 0) assert.is(actual.get(name), isReleased(helperSince(id)) ? id : undefined, name);
  });
});

const bpftool = spawnSync('bpftool', ['version'], { encoding: 'utf8' }).status === 0;
const noBpftool = needsRoot || (!bpftool && 'needs bpftool');

interface Probed {
  readonly program_types: { readonly [name: string]: boolean };
  readonly map_types: { readonly [name: string]: boolean };
  readonly helpers: { readonly [name: string]: readonly string[] };
}

function probedByBpftool(): Probed {
  const { stdout } = spawnSync('bpftool', ['-j', 'feature', 'probe', 'kernel', 'full'], {
    encoding: 'utf8',
    maxBuffer: 1 << 24,
  });
  return JSON.parse(stdout) as Probed;
}

/** Program types for which bpftool 7.1 needs something that it does not have. */
const NOT_BY_BPFTOOL: readonly string[] = ['tracing', 'struct_ops', 'ext', 'lsm'];

test.skipIf(noBpftool, 'bpftool finds the same program types, map types and helpers', () => {
  const { features } = new Kernel();
  const { program_types, map_types, helpers } = probedByBpftool();
  const differences: string[] = [];
  const compare = (feature: string, theirs: boolean | undefined, ours: string) => {
    if (theirs !== undefined && ours !== (theirs ? 'yes' : 'no'))
      differences.push(`${feature}: ${theirs}, ${ours}`);
  };
  for (const programType of Object.keys(programTypes()) as KernelProgramType[])
    if (!NOT_BY_BPFTOOL.includes(programType))
      compare(
        programType,
        program_types[`have_${programType}_prog_type`],
        features.support({ programType }).answer,
      );
  for (const mapType of Object.keys(mapTypes()) as KernelMapType[])
    compare(mapType, map_types[`have_${mapType}_map_type`], features.support({ mapType }).answer);
  // bpftool 7.1 does not know the verifier's text of Linux 6.8 for a helper that a type may not call.
  if (!isReleased('6.8'))
    for (const type of [
      'kprobe',
      'tracepoint',
      'raw_tracepoint',
      'socket_filter',
      'sched_cls',
      'xdp',
      'sk_msg',
    ] as const)
      for (const { feature, answer, reason = '' } of features.helpers(type)) {
        const name = /bpf_\w+/.exec(feature)?.[0] as string;
        // bpftool takes the verifier's 'not supported for program type' for a call that is allowed.
        if (name === 'bpf_get_func_ip' && type.endsWith('tracepoint')) continue;
        if (!reason.includes('sleep'))
          compare(feature, helpers[`${type}_available_helpers`]?.includes(name), answer);
      }
  assert.equal(differences, []);
});

test.run();
