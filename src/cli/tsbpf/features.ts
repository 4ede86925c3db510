/** `tsbpf features`: what the running kernel supports, in summary, line by line, or as JSON. */
import type { ProgramTypeName } from '../../asm/kernel-features.ts';
import { printable } from '../../asm/printable.ts';
import { FEATURE_GROUPS, type Support, titleOf } from '../../loader/features.ts';
import { Kernel } from '../../loader/kernel.ts';
import { printWarning } from '../output.ts';
import type { Request } from './arguments.ts';
import { printAll } from './io.ts';

const WIDTH = 80;

/** The features of one kind. Its title is the singular. */
interface Section {
  readonly title: string;
  readonly supports: readonly Support[];
}

export function features({ words, type, json }: Extract<Request, { action: 'features' }>): void {
  const kernel = new Kernel();
  const sections = sectionsOf(kernel, type);
  const wanted = words.map((word) => word.toLowerCase());
  const chosen = sections
    .flatMap(({ supports }) => supports)
    .filter(
      ({ feature }) => wanted.length === 0 || wanted.some((word) => feature.toLowerCase().includes(word)),
    );
  if (json) printAll(jsonLines(kernel, chosen));
  else if (words.length > 0) printAll(chosen.map(line));
  else printAll(summary(kernel, sections));
  if (chosen.length === 0)
    printWarning('tsbpf', `no feature has a name with ${words.map((word) => printable(word)).join(' or ')}`);
  const reasons = new Set(
    chosen.flatMap(({ answer, reason }) => (answer === 'unknown' ? [reason ?? ''] : [])),
  );
  if (!json)
    for (const reason of reasons) printWarning('tsbpf', `some features cannot be determined: ${reason}`);
}

function sectionsOf(kernel: Kernel, type: ProgramTypeName): Section[] {
  const listed = FEATURE_GROUPS.map((group) => ({
    title: titleOf(group),
    supports: kernel.features.list(group),
  }));
  return [...listed, { title: `helper in ${type} program`, supports: kernel.features.helpers(type) }];
}

/** The name of a feature without the words of its kind. */
function nameOf({ feature }: Support, title: string): string {
  return /^helper bpf_(\w+)/.exec(feature)?.[1] ?? feature.slice(title.length + 1);
}

function line({ feature, since = '', answer, reason }: Support): string {
  const why = reason === undefined || answer === 'yes' ? '' : `: ${reason}`;
  return `${answer.padEnd(7)}  ${since.padEnd(5)}  ${feature}${why}\n`;
}

function* summary({ release }: Kernel, sections: readonly Section[]): Generator<string> {
  yield `Linux ${printable(release)}, ${process.arch}\n`;
  for (const { title, supports } of sections) {
    const named = (answer: Support['answer']) =>
      supports
        .filter((support) => support.answer === answer)
        .map((support) => [nameOf(support, title), support.since]);
    const yes = named('yes').map(([name]) => name as string);
    yield `\n${title.replace('helper', 'helpers')}s: ${yes.length} of ${supports.length}\n${wrapped(yes)}`;
    const no = named('no').map(([name, since]) => `${name} (${since})`);
    // Most helpers belong to other types of programs.
    if (no.length > 0 && !title.startsWith('helpers')) yield `  not supported:\n${wrapped(no)}`;
    const unknown = named('unknown').map(([name]) => name as string);
    if (unknown.length > 0) yield `  cannot be determined:\n${wrapped(unknown)}`;
  }
}

/** The names in lines of up to 80 characters, indented. */
function wrapped(names: readonly string[]): string {
  const lines: string[] = [];
  let last = '';
  for (const name of names) {
    if (last !== '' && 4 + last.length + 2 + name.length + 1 > WIDTH) {
      lines.push(`${last},`);
      last = '';
    }
    last += last === '' ? name : `, ${name}`;
  }
  return [...lines, last].map((each) => `    ${each}\n`).join('');
}

function* jsonLines({ release }: Kernel, supports: readonly Support[]): Generator<string> {
  yield `${JSON.stringify({ kernel: release, arch: process.arch, features: supports }, undefined, 2)}\n`;
}
