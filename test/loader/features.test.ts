/** The answers of feature probes, with a fake kernel: texts of the verifier, and why a probe cannot tell. */
import * as assert from 'uvu/assert';
import { helperId, helperNames, helperSince } from '../../src/asm/helper-names.ts';
import * as helpers from '../../src/asm/helpers.ts';
import { type Feature, mapTypes } from '../../src/asm/kernel-features.ts';
import { MapType } from '../../src/asm/map.ts';
import { Errno } from '../../src/loader/errno.ts';
import { FEATURE_GROUPS, type Support } from '../../src/loader/features.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/features');

const [MAP_CREATE, PROG_LOAD, OBJ_GET_INFO, LINK_CREATE] = [0, 5, 15, 28];

/** A kernel that refuses programs with an errno and a log. */
function refusing(errno: number, log = ''): FakeSyscalls {
  const fake = new FakeSyscalls();
  fake.answers.set(PROG_LOAD, (attr) => {
    if (log !== '') fake.at(attr.getBigUint64(32, true)).set(Buffer.from(`${log}\n\0`));
    return -errno;
  });
  return fake;
}

const helper: Feature = { helper: 'loop', in: 'kprobe' };

for (const [text, answer, log] of [
  ['of an unknown number', 'no', 'invalid func unknown#181'],
  ['before Linux 6.8', 'no', 'unknown func bpf_loop#181'],
  ['since Linux 6.8', 'no', '0: (85) call bpf_loop#181\nprogram of this type cannot use helper bpf_loop#181'],
  [
    'of Linux 7.3',
    'no',
    'Verification failed: helper is not available\n\nReason:\n    program of this type cannot use helper bpf_loop#181',
  ],
  ['about its arguments', 'yes', 'R1 type=ctx expected=scalar'],
  ['about a missing type', 'yes', 'R2 !read_ok'],
] as const)
  test(`a helper is recognized by the verifier's text ${text}`, () => {
    const { features } = new Kernel(refusing(Errno.EINVAL, `${log}\nprocessed 1 insns`));
    const { answer: found, reason } = features.support(helper);
    assert.is(found, answer);
    if (answer === 'no') assert.match(reason ?? '', /func|helper/);
  });

for (const [what, errno, log, answer] of [
  ['that the verifier does not know', Errno.EINVAL, 'BPF_ATOMIC uses invalid atomic opcode f1', 'no'],
  ['that the JIT compiler does not know', Errno.ENOTSUPP, 'processed 9 insns', 'no'],
  ['that needs more than the probe has', Errno.EACCES, 'R10 invalid mem access', 'yes'],
] as const)
  test(`an instruction ${what}: ${answer}`, () => {
    const { features } = new Kernel(refusing(errno, log));
    assert.is(features.support({ instruction: 'atomic.cmpxchg' }).answer, answer);
  });

for (const [what, errno, pattern] of [
  ['a missing permission', Errno.EPERM, /EPERM/],
  ['a security module', Errno.EACCES, /EACCES/],
  ['exhausted memory', Errno.ENOMEM, /ENOMEM.*out of memory/],
  ['exhausted descriptors', Errno.EMFILE, /EMFILE.*open files/],
] as const)
  test(`${what} leaves a feature undetermined, and it is asked for again`, () => {
    const fake = refusing(errno);
    fake.answers.set(MAP_CREATE, () => -errno);
    const { features } = new Kernel(fake);
    for (const feature of [helper, { programType: 'kprobe' }, { mapType: 'hash' }] satisfies Feature[]) {
      const { answer, reason } = features.support(feature);
      assert.is(answer, 'unknown', JSON.stringify(feature));
      assert.match(reason ?? '', pattern);
      assert.is(features.has(feature), false);
    }
    fake.answers.clear();
    assert.is(features.has({ mapType: 'hash' }), true);
    assert.is(features.has({ programType: 'kprobe' }), true);
  });

test('a missing capability is named', () => {
  const fake = refusing(Errno.EPERM);
  fake.files.set('/proc/self/status', 'CapEff:\t0000000000000000\n');
  const { reason } = new Kernel(fake).features.support({ programType: 'kprobe' });
  assert.match(reason ?? '', /CAP_BPF and CAP_PERFMON/);
});

test('a helper that kernel lockdown hides is undetermined', () => {
  const fake = refusing(Errno.EINVAL, 'program of this type cannot use helper bpf_probe_read_kernel#113');
  fake.files.set('/sys/kernel/security/lockdown', 'none integrity [confidentiality]\n');
  const { features } = new Kernel(fake);
  const { answer, reason } = features.support({ helper: 'probe_read_kernel' });
  assert.is(answer, 'unknown');
  assert.match(reason ?? '', /lockdown \(confidentiality\) forbids bpf_probe_read_kernel/);
  assert.is(features.support({ helper: 'loop' }).answer, 'unknown', 'the fake log names the other helper');
});

test('features that need kernel BTF are undetermined without it', () => {
  const { features } = new Kernel(refusing(Errno.EINVAL));
  for (const feature of [
    { programType: 'tracing' },
    { attachType: 'trace_fentry' },
    { ability: 'fentry' },
    { kfunc: 'bpf_task_from_pid' },
    { helper: 'loop', in: 'tp_btf' },
    { ability: 'kernel BTF' },
  ] satisfies Feature[]) {
    const { answer, reason } = features.support(feature);
    assert.is(answer, 'unknown', JSON.stringify(feature));
    assert.match(reason ?? '', /no BTF \(\/sys\/kernel\/btf\/vmlinux\)/);
  }
});

test('a feature is tried once, and nothing stays open', () => {
  const fake = new FakeSyscalls();
  // A link of no program.
  fake.answers.set(LINK_CREATE, (attr) =>
    attr.getUint32(0, true) === 0xffff_ffff ? -Errno.EBADF : undefined,
  );
  const { features } = new Kernel(fake);
  assert.is(features, features);
  for (const group of FEATURE_GROUPS) features.list(group);
  features.helpers('xdp');
  assert.is(fake.open.size, 0);
  const before = fake.calls.length;
  for (const feature of [
    { mapType: 'ringbuf' },
    { programType: 'xdp' },
    { helper: 'loop', in: 'xdp' },
  ] satisfies Feature[])
    assert.is(features.has(feature), true);
  assert.equal(fake.calls.slice(before), []);
});

test('a call that opens nothing closes nothing', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(OBJ_GET_INFO, () => 0);
  new Kernel(fake).features.support({ ability: 'missed runs of programs' });
  assert.not.ok(fake.calls.includes('close 0'));
});

test('the features of a kernel are asked for when they are needed, and kept', () => {
  const fake = new FakeSyscalls();
  const kernel = new Kernel(fake);
  assert.is(kernel.features, kernel.features);
  assert.equal(fake.calls, []);
});

test('a name that is not in the tables throws with similar ones', () => {
  const { features } = new Kernel(new FakeSyscalls());
  const unknown = (feature: unknown) => () => features.support(feature as Feature);
  assert.throws(unknown({ mapType: 'ringbuff' }), /unknown map type 'ringbuff'; nearest: ringbuf/);
  assert.throws(unknown({ helper: 'lop' }), /unknown helper 'lop'; nearest: .*loop/);
  assert.throws(unknown({ helper: 'loop', in: 'kprob' }), /unknown program type 'kprob'; nearest: kprobe/);
  assert.throws(unknown({ maptype: 'hash' }), /unknown kind of feature 'maptype'; nearest: mapType/);
  assert.throws(unknown({}), RangeError);
});

test('a helper is named in three ways', () => {
  const { features } = new Kernel(new FakeSyscalls());
  const of = (named: string | number | helpers.Helper): Support => features.support({ helper: named });
  assert.is(of('bpf_loop').feature, 'helper bpf_loop in kprobe programs');
  assert.is(of('loop'), of('bpf_loop'));
  assert.is(of(181), of('bpf_loop'));
  assert.is(of(helpers.loop), of('bpf_loop'));
});

test('every map type of the library is one of the kernel, which has a first release and a probe', () => {
  const names = Object.keys(mapTypes());
  const fake = new FakeSyscalls();
  const { features } = new Kernel(fake);
  for (const [name, number] of Object.entries(MapType)) {
    const mapType = names[number - 1] as never;
    assert.ok(mapType, name);
    assert.is(features.support({ mapType }).answer, 'yes');
  }
});

test('the first releases of helpers agree with the table of helpers', () => {
  assert.ok(helpers.HELPERS.length > 40);
  for (const { name, id, since } of helpers.HELPERS) {
    assert.is(helperId(name), id);
    assert.is(helperSince(id), since, name);
  }
  assert.is(helperSince(0), undefined);
  assert.is(helperSince(helperNames().length), undefined);
});

test.run();
