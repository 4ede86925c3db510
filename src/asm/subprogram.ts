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
 * A function that programs of any hook call by `b.call(it, ...)`: written once, and emitted once in each program that calls it, behind the
 * program's own instructions (Linux 4.16).
 *
 * What it is given has schemas: its body gets a value for a number, and for a struct the memory whose address its caller hands over, on the
 * caller's stack or in a map. They lie in r1 to r5, temporaries as others: those that are needed after a call are kept. With
 * `context` it is given the program's context too, and has `b.context`, `b.arg(n)` and `b.output` then. It has a frame and r6 to r9 of
 * its own, ends by `b.return(value)`, and may call others, but not itself.
 *
 * The body runs once for each program that calls it, with that program's target. Throws RangeError for a name that is no C identifier
 * and for more than five parameters, TypeError for one that is neither number nor struct, or big-endian: registers have no order of bytes.
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
