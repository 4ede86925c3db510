/**
 * The time of `import 'tsbpf'` in a process that has imported nothing else.
 */
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { ms, type Row, takeTurns } from './measure.ts';
import { dist, node } from './process.ts';

const ROUNDS = 15;
const BAR = 0.35;

export async function importing(): Promise<Row[]> {
  const { bare, library } = await takeTurns(ROUNDS, {
    async bare() {
      const begin = performance.now();
      await once(node('-e', '0'), 'exit');
      return performance.now() - begin;
    },
    library: () => timeOf(pathToFileURL(dist('index.js')).href),
  });
  const ratio = library / bare;
  return [
    {
      measure: "import 'tsbpf'",
      figure: ms(library),
      reference: `node -e 0: ${ms(bare)}`,
      ratio,
      bar: `ratio ${BAR}`,
      met: ratio <= BAR,
    },
  ];
}

/** Milliseconds that a fresh process takes to import a module. */
async function timeOf(url: string): Promise<number> {
  const child = node(
    '--input-type=module',
    '-e',
    `const begin = process.hrtime.bigint();
     await import(${JSON.stringify(url)});
     process.stdout.write(String(process.hrtime.bigint() - begin));`,
  );
  const [output] = await once(child.stdout, 'data');
  return Number(output) / 1e6;
}
