/**
 * The time that `import 'tsbpf'` adds to a module: whole processes with and without the import, in turns.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ms, type Row, takeTurns } from './measure.ts';
import { dist, runTime } from './process.ts';

const ROUNDS = 25;
const BAR = 0.35;

export async function importing(): Promise<Row[]> {
  const folder = await mkdtemp(join(tmpdir(), 'tsbpf-import-'));
  try {
    const empty = join(folder, 'empty.mjs');
    const importer = join(folder, 'importer.mjs');
    await writeFile(empty, '');
    await writeFile(importer, `import ${JSON.stringify(pathToFileURL(dist('index.js')).href)};\n`);
    const times = await takeTurns(ROUNDS, {
      bare: () => runTime('-e', '0'),
      empty: () => runTime(empty),
      importer: () => runTime(importer),
    });
    const added = times.importer - times.empty;
    const ratio = added / times.bare;
    return [
      {
        measure: "import 'tsbpf'",
        figure: `${ms(added)} (${ms(times.importer)} - ${ms(times.empty)})`,
        reference: `node -e 0: ${ms(times.bare)}`,
        ratio,
        bar: `ratio ${BAR}`,
        met: ratio <= BAR,
      },
    ];
  } finally {
    await rm(folder, { recursive: true });
  }
}
