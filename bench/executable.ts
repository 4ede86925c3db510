/**
 * The start of the single executable. The reference is the Node that it contains, which does nothing.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { buildExecutable, sha256 } from '../executable/build.ts';
import { nodeFor } from '../executable/contents.ts';
import { withScratch } from '../test/vm/cache.ts';
import { ms, type Row, takeTurns } from './measure.ts';
import { type Child, header, stop } from './process.ts';

const ROUNDS = 21;
const BAR = 1.35;

export function executable(): Promise<Row[]> {
  return withScratch(async (scratch) => {
    const file = await buildExecutable('linux-x64', scratch);
    const node = join(await nodeFor('linux-x64'), 'bin/node');
    const cache = join(scratch, 'cache');
    await headerTime(file, cache); // fills the cache
    const { bare, version, first, cached } = await takeTurns(ROUNDS, {
      bare: () => runTime(node, '-e', '0'),
      version: () => runTime(file, '--version'),
      first: () => headerTime(file, ''),
      cached: () => headerTime(file, cache),
    });
    const reference = `its node -e 0: ${ms(bare)}`;
    const ratioOf = (time: number) => ({ ratio: time / bare, bar: `ratio ${BAR}`, met: time / bare <= BAR });
    return [
      {
        measure: 'executable: size',
        figure: `${((await stat(file)).size / 1e6).toFixed(1)} MB`,
        reference: `sha256 ${(await sha256(file)).slice(0, 12)}...`,
      },
      { measure: 'executable: --version', figure: ms(version), reference, ...ratioOf(version) },
      {
        measure: 'executable: from exec to the header line',
        figure: ms(cached),
        reference,
        ...ratioOf(cached),
      },
      {
        measure: 'executable: the same with the first run of its programs',
        figure: ms(first),
        reference,
        ratio: first / bare,
      },
    ];
  });
}

function start(file: string, args: readonly string[], cache = ''): Child {
  const env = { ...process.env, TCPCONNLAT_CACHE: cache };
  return spawn(file, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Milliseconds until the header, with a directory as the cache of programs. */
async function headerTime(file: string, cache: string): Promise<number> {
  const begin = performance.now();
  const child = start(file, ['--quiet'], cache);
  await header(child);
  const duration = performance.now() - begin;
  await stop(child);
  return duration;
}

async function runTime(file: string, ...args: readonly string[]): Promise<number> {
  const begin = performance.now();
  const child = start(file, args);
  child.stdout.resume();
  await once(child, 'exit');
  return performance.now() - begin;
}
