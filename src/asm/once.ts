/** Computes a value when it is first asked for, and keeps it. What is not needed at import costs nothing there. */
export function once<T>(compute: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: compute() };
    return made.value;
  };
}
