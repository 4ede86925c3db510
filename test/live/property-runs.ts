/**
 * The number of programs that a property test runs: fewer on slow machines, more on request.
 *
 *     TSBPF_TEST_CASES=1000000 TSBPF_TEST_SLOWNESS=20 npm test -- live/arithmetic
 *
 * The second variable extends the time limits. A failed run prints its seed and the path to the smallest
 * case, which `fc.assert` takes as options.
 */
import { type Suite, slowness, suite } from '../harness.ts';

/** A suite for a property test with `cases` programs, and a time limit to match. */
export function propertySuite(
  name: string,
  programs: number,
): { readonly test: Suite; readonly cases: number } {
  const cases = Number(process.env.TSBPF_TEST_CASES ?? Math.ceil(programs / slowness));
  return { cases, test: suite(name, { seconds: 60 + cases / 20 }) };
}
