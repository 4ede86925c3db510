/**
 * How many programs a property test makes and runs: fewer in slow guests, more on request.
 *
 *     TSBPF_TEST_CASES=1000000 TSBPF_TEST_SLOWNESS=20 npm test -- live/arithmetic
 *
 * The second variable extends the time limits. A failed run prints its seed and the path to the smallest case, which `fc.assert` takes as options.
 */
import { type Suite, slowness, suite } from '../harness.ts';

/** A suite whose property makes `cases` programs, and has the time for them. */
export function propertySuite(
  name: string,
  programs: number,
): { readonly test: Suite; readonly cases: number } {
  const cases = Number(process.env.TSBPF_TEST_CASES ?? Math.ceil(programs / slowness));
  return { cases, test: suite(name, { seconds: 60 + cases / 20 }) };
}
