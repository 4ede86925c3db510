import * as assert from 'uvu/assert';
import { Errno } from '../../../src/loader/errno.ts';
import { KernelError, NoSuchProgramError, NotPermittedError } from '../../../src/loader/errors.ts';
import { Kernel } from '../../../src/loader/kernel.ts';
import { openProgram, type ProgramSelector, programIds } from '../../../src/loader/loaded/find.ts';
import { suite } from '../../harness.ts';
import { thrown } from '../../thrown.ts';
import { FakeSyscalls } from '../fake.ts';

const test = suite('loader/loaded/find');

const OBJECT_GET = 7;
const NEXT_ID = 11;
const FD_BY_ID = 13;
const INFO = 15;

/**
 * A kernel with these programs, named by id. A program without a name is unloaded between listing and
 * opening.
 */
function withPrograms(names: ReadonlyMap<number, string | undefined>): FakeSyscalls {
  const fake = new FakeSyscalls();
  const ids = [...names.keys()].sort((a, b) => a - b);
  const idOf = new Map<number, number>();
  fake.answers.set(NEXT_ID, (attr) => {
    const next = ids.find((id) => id > attr.getUint32(0, true));
    if (next === undefined) return -Errno.ENOENT;
    attr.setUint32(4, next, true);
    return 0;
  });
  fake.answers.set(FD_BY_ID, (attr) => {
    const id = attr.getUint32(0, true);
    if (names.get(id) === undefined) return -Errno.ENOENT;
    const fd = fake.fd();
    idOf.set(fd, id);
    return fd;
  });
  fake.answers.set(INFO, (attr) => {
    const name = names.get(idOf.get(attr.getUint32(0, true)) ?? 0) ?? '';
    fake.at(attr.getBigUint64(8, true)).set(Buffer.from(`${name}\0`), 64);
    return 0;
  });
  fake.answers.set(OBJECT_GET, (attr) =>
    fake.textAt(attr.getBigUint64(0, true)) === '/sys/fs/bpf/pin' ? fake.fd() : -Errno.ENOENT,
  );
  return fake;
}

const programs = new Map([
  [3, 'first'],
  [8, 'twice'],
  [9, undefined],
  [12, 'twice'],
  [40, 'a_name_of_fifte'],
]);

test('programIds lists all ids in ascending order', () => {
  assert.equal([...programIds(new Kernel(withPrograms(programs)))], [3, 8, 9, 12, 40]);
});

test('a program is opened by its id, its name or its pin, and nothing else stays open', () => {
  for (const wanted of [
    { id: 3 },
    { name: 'first' },
    { name: 'a_name_of_fifteen_and_more' },
    { pin: '/sys/fs/bpf/pin' },
  ] satisfies ProgramSelector[]) {
    const fake = withPrograms(programs);
    const descriptor = openProgram(new Kernel(fake), wanted);
    assert.equal([...fake.open], [descriptor.fd], JSON.stringify(wanted));
  }
});

test('a missing program is an error, and several with one name are listed', () => {
  for (const [wanted, message] of [
    [{ id: 9 }, 'no program has the id 9; bpftool prog lists the loaded programs'],
    [{ name: 'none' }, "no program is named 'none'; bpftool prog lists the loaded programs"],
    [{ name: 'twice' }, "several programs are named 'twice'; select one by its id: 8 or 12"],
    [{ pin: '/none' }, 'nothing is pinned at /none; bpftool -f prog shows where programs are'],
  ] satisfies [ProgramSelector, string][]) {
    const fake = withPrograms(programs);
    const error = thrown(() => openProgram(new Kernel(fake), wanted));
    assert.instance(error, NoSuchProgramError);
    assert.is(error.message, message);
    assert.is(fake.open.size, 0);
  }
});

test('if the kernel refuses a call, nothing stays open', () => {
  const fake = withPrograms(programs);
  fake.answers.set(INFO, () => -Errno.EINVAL);
  assert.instance(
    thrown(() => openProgram(new Kernel(fake), { name: 'first' })),
    KernelError,
  );
  assert.is(fake.open.size, 0);
  fake.answers.set(FD_BY_ID, () => -Errno.EPERM);
  assert.instance(
    thrown(() => openProgram(new Kernel(fake), { id: 3 })),
    NotPermittedError,
  );
});

test.run();
