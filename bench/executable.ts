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
    const { bare, version, traced } = await takeTurns(ROUNDS, {
      bare: () => runTime(node, '-e', '0'),
      version: () => runTime(file, '--version'),
      async traced() {
        const begin = performance.now();
        const child = start(file, '--quiet');
        await header(child);
        const duration = performance.now() - begin;
        await stop(child);
        return duration;
      },
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
        figure: ms(traced),
        reference,
        ...ratioOf(traced),
      },
    ];
  });
}

function start(file: string, ...args: readonly string[]): Child {
  return spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function runTime(file: string, ...args: readonly string[]): Promise<number> {
  const begin = performance.now();
  const child = start(file, ...args);
  child.stdout.resume();
  await once(child, 'exit');
  return performance.now() - begin;
}
