/** How the commands start: their bundles by what V8 made of them when they were built, or without that. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import * as assert from 'uvu/assert';
import { suite } from '../harness.ts';

const test = suite('cli/launch');

/** The cache of a command: of this Node, on this processor. */
const CACHE = `${process.version}-${process.arch}.cache`;
const DIST = fileURLToPath(new URL('../../../dist', import.meta.url));

for (const name of ['tcpconnlat', 'tsbpf']) {
  test(`${name}: the cache is of this V8, and of this bundle`, () => {
    const text = readFileSync(join(DIST, `${name}.bundle.cjs`), 'latin1');
    assert.is(/[^\n\r\t -~]/.exec(text), null, 'nothing but ASCII, which is how it is read');
    const script = new Script(text, { cachedData: readFileSync(join(DIST, `${name}.${CACHE}`)) });
    assert.is(script.cachedDataRejected, false);
  });

  for (const [what, spoil] of [
    ['is missing', (cache: string) => rmSync(cache)],
    ['is empty', (cache: string) => truncateSync(cache)],
    ['is cut off', (cache: string) => truncateSync(cache, 10_000)],
    ['is something else', (cache: string) => writeFileSync(cache, 'x'.repeat(1000))],
  ] as const)
    test(`${name} starts where the cache ${what}`, () => {
      const folder = mkdtempSync(join(tmpdir(), 'tsbpf-launch-'));
      try {
        for (const ending of ['cjs', 'bundle.cjs', CACHE])
          cpSync(join(DIST, `${name}.${ending}`), join(folder, `${name}.${ending}`));
        spoil(join(folder, `${name}.${CACHE}`));
        const { status, stdout, stderr } = spawnSync(
          process.execPath,
          [join(folder, `${name}.cjs`), '--version'],
          { encoding: 'utf8' },
        );
        assert.equal([status, stderr], [0, '']);
        assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
}

test.run();
