/**
 * The section about features in docs/kernels.md: what each kernel of the lab must have.
 * test/live/features.test.ts checks that there.
 */
import { FEATURE_GROUPS, type FeatureGroup, namesIn, titleOf } from '../../src/loader/features.ts';
import { EXCEPTIONS, expectedAnswer } from '../live/expected-features.ts';
import { MATRIX } from './matrix.ts';

const HEAD = `## Features

\`\`\`ts
import { Kernel } from 'tsbpf';

const { features } = new Kernel();
console.log(features.support({ mapType: 'ringbuf' }));
\`\`\`

\`kernel.features\` tries each feature on the running kernel, and \`tsbpf features\` prints them. This table
is not measured: it states the first kernels in the sources and what Debian's configuration changes, and
\`TSBPF_RENEW_GOLDEN=1 npm test -- vm/feature-table\` renews it. On each kernel, \`live/features\` checks that
the probes find exactly this.
`;

interface Row {
  readonly group: FeatureGroup;
  readonly name: string;
  readonly since: string;
  readonly answers: readonly string[];
}

function rowsOf(group: FeatureGroup): Row[] {
  return Object.entries(namesIn(group)).map(([name, since]) => ({
    group,
    name,
    since,
    answers: MATRIX.map(({ series }) => expectedAnswer({ series }, group, name)),
  }));
}

/** The section, with a final newline. */
export function featureSection(): string {
  const rows = FEATURE_GROUPS.flatMap(rowsOf);
  const everywhere = rows.filter(({ answers }) => answers.every((answer) => answer === 'yes'));
  const differing = rows.filter((row) => !everywhere.includes(row));
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  const kernels = MATRIX.map(({ series }) => series);
  return [
    HEAD,
    '\n',
    line(['feature', 'first Linux', ...kernels]),
    `|${'---|'.repeat(2 + kernels.length)}\n`,
    ...differing.map(({ group, name, since, answers }) =>
      line([`${titleOf(group)} \`${name}\``, since, ...answers]),
    ),
    '\nExceptions to the first releases:\n\n',
    ...notes(),
    '\nAll of these kernels have:\n\n',
    line(['kind', 'names']),
    '|---|---|\n',
    ...FEATURE_GROUPS.map((group) => {
      const names = everywhere.filter((row) => row.group === group).map(({ name }) => `\`${name}\``);
      return line([titleOf(group), names.join(', ')]);
    }),
  ].join('');
}

/** A line for each configuration that changes an answer. */
function notes(): string[] {
  return EXCEPTIONS.flatMap(({ names, why, on }) => {
    const series = MATRIX.filter((kernel) => on(kernel)).map((kernel) => kernel.series);
    const which = series.length === MATRIX.length ? 'all' : series.join(', ');
    const shown = names.map((name) => `\`${name.slice(name.indexOf(' ') + 1)}\``);
    return series.length === 0 ? [] : [`- ${[...new Set(shown)].join(', ')} (${which}): ${why}.\n`];
  });
}

/** The page with the section in the place of the previous one. */
export function withFeatureSection(page: string): string {
  return page.replace(/^## Features\n[\s\S]*?(?=^## )/m, () => `${featureSection()}\n`);
}
