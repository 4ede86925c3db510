/** Ownership of things that hold the kernel. */

/** Something that holds the kernel until it is closed. Closing twice does nothing. */
export interface Closeable {
  close(): void;
}

/** Owns what it was given and closes it in reverse order, all of it even where one fails. */
export class Resources implements Closeable {
  #owned: Closeable[] = [];

  /** Takes `resource` over and hands it back. */
  add<T extends Closeable>(resource: T): T {
    this.#owned.push(resource);
    return resource;
  }

  /**
   * Closes everything, last first.
   * @throws what one of them threw; an `AggregateError` where several did. All were closed nevertheless.
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

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Throws the error, or several as an `AggregateError`; does nothing if there is none. */
export function throwAll(errors: readonly unknown[]): void {
  if (errors.length > 1) throw new AggregateError(errors, errors.map(String).join('; '));
  if (errors.length === 1) throw errors[0];
}

/**
 * Runs `build` with an owner of its own: what it added stays open when it succeeds, and is closed when it throws.
 * The error is the one that `build` threw, whatever closing adds to it.
 */
export function allOrNothing<T>(build: (resources: Resources) => T): T {
  const resources = new Resources();
  try {
    return build(resources);
  } catch (error) {
    try {
      resources.close();
    } catch {
      // The first failure is the one that explains.
    }
    throw error;
  }
}
