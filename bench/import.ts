/**
 * The time of `import 'tsbpf'` in a process that has imported nothing else.
 */
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { ms, type Row, takeTurns } from './measure.ts';
import { dist, node } from './process.ts';

const ROUNDS = 15;
const BAR_MS = 30;

export async function importing(): Promise<Row[]> {
  const { nothing, library } = await takeTurns(ROUNDS, {
    nothing: () => timeOf('data:text/javascript,'),
    library: () => timeOf(pathToFileURL(dist('index.js')).href),
  });
  return [
    {
      measure: "import 'tsbpf'",
      figure: ms(library),
      reference: `an empty module: ${ms(nothing)}`,
      bar: `${BAR_MS} ms`,
      met: library <= BAR_MS,
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
