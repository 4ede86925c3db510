/**
 * How many cases a property test tries: `count`, or more with
 *
 *     TSBPF_PROPERTY_RUNS=125000 TSBPF_TEST_SLOWNESS=20 npm test -- live/control-flow
 *
 * The second variable extends the time limits. A failed run prints its seed and the path to the smallest
 * case, which `fc.assert` takes as options.
 */
export function runs(count: number): number {
  return Math.max(count, Number(process.env.TSBPF_PROPERTY_RUNS ?? 0));
}
