/**
 * Error messages for programs that the verifier refuses. Each program of test/rejections has a golden file
 * beside it.
 *
 * Golden files match completely on the kernel that made them. Other kernels word their logs differently;
 * there only the lines of tsbpf are compared. Renew them on such a kernel after an intended change:
 *
 *     TSBPF_RENEW_GOLDEN=1 npm test -- live/rejections
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import type { Locate } from '../../src/asm/position.ts';
import { target } from '../../src/asm/target.ts';
import { VerifierError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { Resources } from '../../src/loader/resources.ts';
import { sourceReader } from '../../src/loader/source.ts';
import { renderVerifierError } from '../../src/loader/verifier/report.ts';
import { inGuest, needsRoot, suite } from '../harness.ts';
import type { Rejection } from '../rejections/rejection.ts';

const test = suite('live/rejections', { seconds: 60 });

/** The kernel series of the golden files. */
const GOLDEN_KERNEL = /^6\.18\./;

const COMPILED = new URL('../rejections/', import.meta.url);
/** The sources and golden files are not compiled. */
const FOLDER = fileURLToPath(new URL('../../../test/rejections/', import.meta.url));

const kernel = needsRoot ? undefined : new Kernel();
const names = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.ts') && file !== 'rejection.ts')
  .map((file) => file.replace(/\.ts$/, ''));

/** Makes paths relative to the project, so that golden files match in any folder. */
function relative(find: Locate): Locate {
  return (position) => {
    const place = find(position);
    return place && { ...place, file: place.file.replace(/^.*\/(test\/rejections\/)/, '$1') };
  };
}

/** Loads a program that the verifier must refuse, and returns its error. */
function errorOf(rejection: Rejection, { syscalls, btf }: Kernel): VerifierError {
  const running = new Kernel(syscalls);
  const program = rejection.program(target(process.arch, btf));
  const resources = new Resources();
  try {
    const maps = new Map(
      rejection.maps.map((spec) => [spec, resources.add(BpfMap.create(running, spec))] as const),
    );
    const locate = relative(sourceReader(syscalls));
    resources.add(loadProgram(running, program, assemble(program.instructions), maps, { locate }));
  } catch (error) {
    if (error instanceof VerifierError) return error;
    throw error;
  } finally {
    resources.close();
  }
  throw new Error('the verifier accepted the program');
}

/** Replaces addresses and ids, which differ between runs and kernel builds. */
function withoutNumbers(text: string): string {
  return text
    .replaceAll(/0xffff[0-9a-f]{12}\b/g, '0xffff...')
    .replaceAll(/btf_id \d+/g, 'btf_id ...')
    .replaceAll(/(call bpf_\w+#)\d{4,} */g, '$1... '); // kernel functions; helpers have up to three digits
}

/**
 * The lines of a rendered error that do not depend on the kernel: the source line, the instruction, the hint.
 */
function ours(text: string): string[] {
  return text.split('\n').filter((line) => /^(at |hint: | {4}\d+: \()/.test(line));
}

/** Why the program cannot be tested here, or false. */
function missing({ since, needsTypes, endless }: Rejection): string | false {
  if (kernel === undefined) return needsRoot;
  if (endless && inGuest) return 'the verifier takes minutes for it on an emulated machine';
  if (needsTypes && kernel.btf === undefined) return 'this kernel has no BTF';
  if (since !== undefined && kernel.btf?.find('func', since.having) === undefined)
    return `this kernel has no ${since.having} (Linux ${since.release})`;
  return false;
}

for (const name of names) {
  const { rejection }: { rejection: Rejection } = await import(new URL(`${name}.js`, COMPILED).href);

  test.skipIf(missing(rejection), `${name}is reported with its line, instruction, reason and hint`, () => {
    const error = errorOf(rejection, kernel as Kernel);
    const text = `${withoutNumbers(renderVerifierError(error))}\n`;
    const file = `${FOLDER}${name}.txt`;
    const exact = GOLDEN_KERNEL.test((kernel as Kernel).release);
    if (exact && process.env.TSBPF_RENEW_GOLDEN) writeFileSync(file, text);
    const golden = readFileSync(file, 'utf8');
    if (exact) assert.fixture(text, golden, `${name}.txt differs: see rejections.test.ts`);
    // If the kernel names no instruction, only the hint is comparable.
    const part = (lines: string[]) => (rejection.nowhere ? lines.slice(-1) : lines);
    const head = (whole: string) => part(ours(whole.slice(0, whole.indexOf('\nthe end of its log'))));
    assert.equal(head(text), head(golden), text);
    assert.match(error.summary.hint ?? '', rejection.hint, text);
    assert.match(error.message, new RegExp(`\\(test/rejections/(${name}|rejection)\\.ts:\\d+\\)$`));
    assert.is(error.message.includes('\n'), false);
  });
}

test('at least twenty kinds of rejections are tested', () => {
  assert.ok(names.length >= 20, `${names.length}`);
});

test.run();
