import { closeSync, fstatSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { lockHolder } from '../../../src/cli/recording/lock.ts';
import { Errno } from '../../../src/loader/errno.ts';
import { nativeSyscalls } from '../../../src/loader/koffi.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/recording/lock');

const { flock } = nativeSyscalls();

for (const parent of [tmpdir(), '/dev/shm'])
  test(`the holder of a lock is found: ${parent}`, () => {
    const folder = mkdtempSync(join(parent, 'tsbpf-lock-'));
    try {
      const [one, other] = ['w', 'r'].map((flags) => openSync(join(folder, 'file'), flags)) as [
        number,
        number,
      ];
      const stat = fstatSync(one, { bigint: true });
      assert.is(lockHolder(stat), undefined);
      assert.is(flock(one), 0);
      assert.is(flock(other), -Errno.EAGAIN);
      assert.is(lockHolder(stat), process.pid);
      assert.is(lockHolder({ ...stat, dev: stat.dev + 1n }), undefined, 'the same number on another device');
      closeSync(one);
      assert.is(lockHolder(stat), undefined);
      assert.is(flock(other), 0);
      closeSync(other);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

test('a closed descriptor cannot be locked', () => {
  assert.is(flock(99_999), -Errno.EBADF);
});

test.run();
