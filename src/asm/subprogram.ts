/**
 * Subprograms written with the builder.
 */
import type { TSchema } from '@sinclair/typebox';
import type { BodyResult } from './body.ts';
import type { Builder } from './builder/builder.ts';
import { ARGUMENT_REGISTERS } from './builder/call-arguments.ts';
import type { ParametersOf } from './builder/parameters.ts';
import type { Subprogram } from './builder/subprograms.ts';
import { withSourcePosition } from './error-position.ts';
import { hasFields, layoutOf, u64 } from './layout.ts';
import { capture } from './position.ts';

/**
 * Makes a function that programs call with `b.call(it, ...)` (Linux 4.16). Each calling program contains its
 * code once, after its own instructions.
 *
 * The body receives a value for each number, and for each struct the memory that the caller passes by
 * address, on its stack or in a map. They are temporaries in r1 to r5: keep those that you need after a call.
 * With `context: true` it also gets the program's context, for `b.context`, `b.arg` and `b.output`. It has
 * its own stack frame and r6 to r9, returns with `b.return(value)` of the type `returns` (u64 by default),
 * and may call others, but not itself.
 *
 * The body runs once for each program that calls it, with that program's target. Throws RangeError for a name
 * that is not a C identifier and for more than five parameters. Throws TypeError for a parameter that is
 * neither a number nor a struct, and for big-endian numbers, because registers have no byte order.
 *
 * @example
 * ```ts
 * import { rawTracepoint, subprogram, target, u64 } from 'tsbpf';
 *
 * const isQuick = subprogram('is_quick', [u64], (b, ns) => {
 *   b.if(ns.lt(1_000_000), () => b.return(1));
 * });
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
 *   b.if(b.call(isQuick, b.arg(1)).ne(0), () => b.exit());
 * });
 * ```
 */
export function subprogram<const P extends readonly TSchema[]>(
  name: string,
  parameters: P,
  body: (b: Builder, ...parameters: ParametersOf<P>) => BodyResult,
  { context = false, returns = u64 }: { readonly context?: boolean; readonly returns?: TSchema } = {},
): Subprogram<P> {
  if (!/^[A-Za-z_]\w{0,62}$/.test(name))
    throw withSourcePosition(
      new RangeError(`subprogram name '${name}': it is a C identifier of at most 63 characters`),
    );
  const most = ARGUMENT_REGISTERS.length;
  if (parameters.length + Number(context) > most)
    throw withSourcePosition(
      new RangeError(
        `subprogram ${name}: ${parameters.length} parameters${context ? ' and the context' : ''} are more than the ${most} that fit registers: hand a struct over`,
      ),
    );
  for (const [index, schema] of parameters.entries()) {
    const layout = layoutOf(schema);
    if (layout.kind !== 'int' && !hasFields(layout))
      throw withSourcePosition(
        new TypeError(
          `subprogram ${name}: parameter ${index} is neither a number nor a struct or union: put it into one`,
        ),
      );
    if (layout.kind === 'int' && layout.bigEndian)
      throw withSourcePosition(
        new TypeError(`subprogram ${name}: parameter ${index} is big-endian, which a register isn't`),
      );
  }
  const result = layoutOf(returns);
  if (result.kind !== 'int' || result.bigEndian)
    throw withSourcePosition(
      new TypeError(
        `subprogram ${name}: its result is in a register, so it is an integer of the host's byte order`,
      ),
    );
  return { name, parameters, returns, context, position: capture(subprogram), body };
}
