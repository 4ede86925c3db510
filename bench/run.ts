/**
 * Measures the project's speed and size against the limits in docs/performance.md, and prints a table:
 *
 *     npm run bench [NAME...]      as root; NAME selects measures
 *
 * Times are medians; a measure and its reference run in turns. The exit status is 1 if a limit is not met.
 */
import { assembly } from './assembly.ts';
import { btf } from './btf.ts';
import { calls } from './calls.ts';
import { connects } from './connects.ts';
import { cost } from './cost.ts';
import { delay } from './delay.ts';
import { executable } from './executable.ts';
import { exporter } from './exporter.ts';
import { fleet } from './fleet.ts';
import { importing } from './import.ts';
import { lines } from './lines.ts';
import { load } from './load.ts';
import { maps } from './maps.ts';
import type { Row } from './measure.ts';
import { programs } from './programs.ts';
import { report } from './report.ts';
import { atRest } from './rest.ts';
import { rings } from './rings.ts';
import { start } from './start.ts';
import { summary } from './summary.ts';
import { switches } from './switch.ts';

const MEASURES: Readonly<Record<string, () => Promise<Row[]>>> = {
  start,
  executable,
  exporter,
  fleet,
  import: importing,
  btf,
  rest: atRest,
  delay,
  programs,
  assembly,
  switch: switches,
  connects,
  calls,
  lines,
  cost,
  rings,
  maps,
  summary,
  report,
  load,
};
/**
 * The measures that run only if named: exporter, fleet, load, report and summary take minutes, cost needs
 * QEMU, executable downloads Node.
 */
const ON_REQUEST = ['cost', 'executable', 'exporter', 'fleet', 'load', 'report', 'summary'];
const EVERYDAY = Object.keys(MEASURES).filter((name) => !ON_REQUEST.includes(name));

const HEADER = ['measure', 'figure', 'reference', 'ratio', 'bar', 'met'];

async function main(names: readonly string[]): Promise<number> {
  const unknown = names.filter((name) => !(name in MEASURES));
  if (unknown.length > 0) {
    console.error(`no measure '${unknown[0]}'; choose from ${Object.keys(MEASURES).join(', ')}`);
    return 2;
  }
  if (process.getuid?.() !== 0) {
    console.error('the benchmarks trace this kernel: run them as root');
    return 1;
  }
  const rows: Row[] = [];
  for (const name of names.length > 0 ? names : EVERYDAY) {
    if (process.stderr.isTTY) console.error(`measuring ${name} ...`);
    rows.push(...((await MEASURES[name]?.()) ?? []));
  }
  printTable([HEADER, ...rows.map(cells)]);
  return rows.some(({ met }) => met === false) ? 1 : 0;
}

function cells({ measure, figure, reference = '', ratio, bar = '', met }: Row): string[] {
  return [
    measure,
    figure,
    reference,
    ratio?.toFixed(2) ?? '',
    bar,
    met === undefined ? '' : met ? 'yes' : 'NO',
  ];
}

function printTable(lines: readonly (readonly string[])[]): void {
  const widths = HEADER.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  for (const line of lines)
    console.log(
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join(' | ')
        .trimEnd(),
    );
}

process.exitCode = await main(process.argv.slice(2));
