/** Ownership of kernel resources. */

/**
 * An owner of kernel resources, such as a map, link or session. `close` releases them; a second call does
 * nothing.
 *
 * @example
 * ```ts
 * import type { Closeable } from 'tsbpf';
 *
 * function closeAll(owners: readonly Closeable[]): void {
 *   for (const owner of [...owners].reverse()) owner.close();
 * }
 * closeAll([]);
 * ```
 */
export interface Closeable {
  /** Releases the resources. */
  close(): void;
}

/** Owns several resources and closes them in reverse order, all of them even if one fails. */
export class Resources implements Closeable {
  #owned: Closeable[] = [];

  /** Takes ownership of `resource` and returns it. */
  add<T extends Closeable>(resource: T): T {
    this.#owned.push(resource);
    return resource;
  }

  /**
   * Closes all resources, the last one first.
   * @throws the error of a resource after all are closed, or an `AggregateError` of several errors.
   */
  close(): void {
    const owned = this.#owned.reverse();
    this.#owned = [];
    const errors: unknown[] = [];
    for (const resource of owned) {
      try {
        resource.close();
      } catch (error) {
        errors.push(error);
      }
    }
    throwAll(errors);
  }

  /** Calls `close`, at the end of a `using` declaration's block. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Throws a single error as it is and several as an `AggregateError`. Does nothing if there are none. */
export function throwAll(errors: readonly unknown[]): void {
  if (errors.length > 1) throw new AggregateError(errors, errors.map(String).join('; '));
  if (errors.length === 1) throw errors[0];
}

/**
 * Runs `build` with a new owner. If `build` throws, closes the resources that it added and throws its error
 * again; errors of closing are dropped.
 */
export function allOrNothing<T>(build: (resources: Resources) => T): T {
  const resources = new Resources();
  try {
    return build(resources);
  } catch (error) {
    try {
      resources.close();
    } catch {
      // The error of `build` explains the failure.
    }
    throw error;
  }
}
