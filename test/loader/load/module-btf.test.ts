import * as assert from 'uvu/assert';
import { Errno } from '../../../src/loader/errno.ts';
import { Kernel } from '../../../src/loader/kernel.ts';
import { openModuleBtf } from '../../../src/loader/load/module-btf.ts';
import { suite } from '../../harness.ts';
import { FakeSyscalls } from '../fake.ts';

const test = suite('loader/load/module-btf');

const [INFO, FD_BY_ID, NEXT_ID] = [15, 19, 23];
/** The size of `struct bpf_btf_info` before Linux 5.11 and since. */
const [WITHOUT_NAME, WITH_NAME] = [16, 32];

/** A kernel with the BTF of itself, of a module, and of a program that has the name of another module. */
function kernelWith(infoSize: number): FakeSyscalls {
  const fake = new FakeSyscalls();
  const names = ['vmlinux', 'nf_nat', 'nf_tables'];
  const idOf = new Map<number, number>();
  fake.answers.set(NEXT_ID, (attr) => {
    const next = attr.getUint32(0, true) + 1;
    attr.setUint32(4, next, true);
    return next > names.length ? -Errno.ENOENT : 0;
  });
  fake.answers.set(FD_BY_ID, (attr) => {
    const fd = fake.fd();
    idOf.set(fd, attr.getUint32(0, true));
    return fd;
  });
  fake.answers.set(INFO, (attr) => {
    const bytes = fake.at(attr.getBigUint64(8, true));
    if (bytes.subarray(infoSize).some((byte) => byte !== 0)) return -Errno.E2BIG;
    attr.setUint32(4, Math.min(attr.getUint32(4, true), infoSize), true);
    if (infoSize < WITH_NAME) return 0;
    const info = new DataView(bytes.buffer);
    const id = idOf.get(attr.getUint32(0, true)) ?? 0;
    const name = info.getBigUint64(16, true);
    if (name !== 0n) fake.at(name).set(Buffer.from(`${names[id - 1]}\0`));
    if (bytes.length >= WITH_NAME) info.setUint32(28, id === 3 ? 0 : 1, true);
    return 0;
  });
  return fake;
}

test('the BTF of a module is found by its name, and only it stays open', () => {
  const fake = kernelWith(WITH_NAME);
  const btf = openModuleBtf(new Kernel(fake), 'nf_nat');
  assert.equal([...fake.open], [btf?.fd]);
  btf?.close();
  assert.is(openModuleBtf(new Kernel(fake), 'nf_tables'), undefined);
  assert.is(fake.open.size, 0);
});

test('a kernel without names of BTF objects has no BTF of modules', () => {
  const fake = kernelWith(WITHOUT_NAME);
  assert.is(openModuleBtf(new Kernel(fake), 'nf_nat'), undefined);
  assert.is(fake.open.size, 0);
});

test.run();
