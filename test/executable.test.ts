/** The build of the single executables (executable/build.ts). test/live/executable.test.ts runs them. */
import { spawnSync } from 'node:child_process';
import { open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { buildExecutable, sha256 } from '../executable/build.ts';
import { PLATFORMS, type Platform } from '../executable/contents.ts';
import { noDownloads, suite } from './harness.ts';
import { CACHE, withScratch } from './vm/cache.ts';
import { PROJECT } from './vm/image.ts';

const test = suite('executable', { seconds: 120 });

const skip = noDownloads || (process.arch !== 'x64' && 'executables are built on x64');

/** `e_machine` of ELF files. */
const MACHINES: Record<Platform, number> = { 'linux-x64': 62, 'linux-arm64': 183 };

async function machineOf(file: string): Promise<number> {
  const header = Buffer.alloc(20);
  const handle = await open(file);
  await handle.read(header, 0, header.length, 0).finally(() => handle.close());
  return header.readUInt16LE(18);
}

for (const platform of PLATFORMS)
  test.skipIf(skip, `two builds for ${platform} give the same file`, () =>
    withScratch(async (scratch) => {
      const files = await Promise.all(
        ['first', 'second'].map((name) => buildExecutable(platform, join(scratch, name))),
      );
      const [first, second] = await Promise.all(files.map(sha256));
      assert.is(first, second);
      const [file = ''] = files;
      for (const folder of [PROJECT, scratch, CACHE])
        assert.not.ok((await readFile(file)).includes(folder), `it depends on ${folder}`);
      assert.is(await machineOf(file), MACHINES[platform]);
      assert.is((await stat(file)).mode & 0o777, 0o755);
      if (platform !== `linux-${process.arch}`) return;
      const { version } = JSON.parse(await readFile(join(PROJECT, 'package.json'), 'utf8'));
      // Node's options come from nowhere: a variable for other programs must not change a command of root.
      const env = { NODE_OPTIONS: '--no-such-option' };
      const { status, stdout, stderr } = spawnSync(file, ['--version'], { env, encoding: 'utf8' });
      assert.equal([status, stdout, stderr], [0, `${version}\n`, '']);
    }),
  );

test.run();
