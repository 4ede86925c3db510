/**
 * Returns how many of `length` elements come before the first one that fails a test. All elements after it
 * must fail too: this is a binary search.
 */
export function countLeading(length: number, passes: (index: number) => boolean): number {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (passes(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}
