/** Returns a function that computes a value on its first call and caches it, so that imports stay cheap. */
export function once<T>(compute: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: compute() };
    return made.value;
  };
}
