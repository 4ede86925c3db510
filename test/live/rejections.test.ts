/**
 * What is said of programs that the verifier refuses: those of test/rejections, each with its golden file beside it.
 *
 * The golden files are whole on the kernel that they were made on; other kernels word their part differently, and there the parts that are
 * ours are compared. To renew them, on such a kernel, after a change that is meant:
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

/** The kernel of the golden files, as far as it matters. */
const GOLDEN_KERNEL = /^6\.18\./;

const COMPILED = new URL('../rejections/', import.meta.url);
/** The sources and golden files are not compiled. */
const FOLDER = fileURLToPath(new URL('../../../test/rejections/', import.meta.url));

const kernel = needsRoot ? undefined : new Kernel();
const names = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.ts') && file !== 'rejection.ts')
  .map((file) => file.replace(/\.ts$/, ''));

/** Positions with files as they are called from here, so that the golden files hold in any folder. */
function relative(find: Locate): Locate {
  return (position) => {
    const place = find(position);
    return place && { ...place, file: place.file.replace(/^.*\/(test\/rejections\/)/, '$1') };
  };
}

/** Loads it, which has to fail. */
function refusalOf(rejection: Rejection, { syscalls, btf }: Kernel): VerifierError {
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
  throw new Error('it was loaded');
}

/** Addresses and ids, which differ from run to run and from build to build. */
function withoutNumbers(text: string): string {
  return text
    .replaceAll(/0xffff[0-9a-f]{12}\b/g, '0xffff...')
    .replaceAll(/btf_id \d+/g, 'btf_id ...')
    .replaceAll(/(call bpf_\w+#)\d{4,} */g, '$1... '); // a kernel function's; helpers have three digits at most
}

/** Of a rendered error what no kernel has a say in: the author's line, the instruction, the hint. */
function ours(text: string): string[] {
  return text.split('\n').filter((line) => /^(at |hint: | {4}\d+: \()/.test(line));
}

/** Why it can't be tried here. */
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

  test.skipIf(missing(rejection), `${name}: the line, the instruction, the reason and a hint`, () => {
    const error = refusalOf(rejection, kernel as Kernel);
    const text = `${withoutNumbers(renderVerifierError(error))}\n`;
    const file = `${FOLDER}${name}.txt`;
    const exact = GOLDEN_KERNEL.test((kernel as Kernel).release);
    if (exact && process.env.TSBPF_RENEW_GOLDEN) writeFileSync(file, text);
    const golden = readFileSync(file, 'utf8');
    if (exact) assert.fixture(text, golden, `${name}.txt differs: see rejections.test.ts`);
    // Where a kernel names no instruction, the hint is all there is of it.
    const part = (lines: string[]) => (rejection.nowhere ? lines.slice(-1) : lines);
    const head = (whole: string) => part(ours(whole.slice(0, whole.indexOf('\nthe end of its log'))));
    assert.equal(head(text), head(golden), text);
    assert.match(error.summary.hint ?? '', rejection.hint, text);
    assert.match(error.message, new RegExp(`\\(test/rejections/(${name}|rejection)\\.ts:\\d+\\)$`));
    assert.is(error.message.includes('\n'), false);
  });
}

test('there are more than twenty reasons, each with a hint of its own or shared by few', () => {
  assert.ok(names.length >= 20, `${names.length}`);
});

test.run();
