/**
 * Random control flow as a tree, with its translation to builder calls and raw instructions, and a model of
 * its result.
 */
import fc from 'fast-check';
import type { Builder } from '../../src/asm/builder/builder.ts';
import type { Condition } from '../../src/asm/builder/operand.ts';
import type { Place } from '../../src/asm/builder/place.ts';
import type { Subprogram } from '../../src/asm/builder/subprograms.ts';
import { add, ja, jlt, jset, label, ldx, mov, stx } from '../../src/asm/constructors.ts';
import { getSmpProcessorId } from '../../src/asm/helpers.ts';
import { u64 } from '../../src/asm/layout.ts';
import { r2, r3, r9, r10 } from '../../src/asm/registers.ts';
import { subprogram } from '../../src/asm/subprogram.ts';

/** Every statement changes one 64-bit number, in the first 8 bytes of the stack. */
const AT = -8;

/** A condition on an argument of the program or on the number. */
interface Question {
  readonly of: number | 'number';
  readonly comparison: 'eq' | 'ne' | 'gt' | 'ge' | 'lt' | 'le' | 'bits';
  readonly with: number;
}

type Body = readonly Statement[];

export type Statement =
  | { readonly kind: 'add' | 'raw' | 'temporary'; readonly amount: number }
  | { readonly kind: 'argument'; readonly index: number }
  | { readonly kind: 'helper' }
  | { readonly kind: 'function'; readonly index: number }
  /** Keeps the number while the body runs, then adds it. */
  | { readonly kind: 'keep'; readonly body: Body }
  | { readonly kind: 'if'; readonly question: Question; readonly yes: Body; readonly otherwise?: Body }
  | {
      readonly kind: 'switch';
      readonly index: number;
      readonly cases: readonly Body[];
      readonly otherwise?: Body;
    }
  | { readonly kind: 'block'; readonly body: Body }
  /** Leaves one of the enclosing blocks. */
  | { readonly kind: 'leave'; readonly level: number }
  /** A body followed by a label. */
  | { readonly kind: 'labelled'; readonly body: Body }
  /**
   * A raw jump to one of the labels after the enclosing bodies: unconditional, or if the number has a bit
   * set.
   */
  | { readonly kind: 'jump'; readonly level: number; readonly bit?: number }
  /**
   * Repeats its body with raw instructions around it. With `testFirst` the loop begins with a jump to the
   * test behind the body.
   */
  | { readonly kind: 'loop'; readonly times: number; readonly testFirst: boolean; readonly body: Body }
  | { readonly kind: 'exit'; readonly value?: number };

/** A program and its functions. A function calls only functions after it. */
export interface Flow {
  readonly main: Body;
  readonly functions: readonly Body[];
}

export const ARGUMENTS = 4;

const question: fc.Arbitrary<Question> = fc.record({
  of: fc.oneof(fc.nat(ARGUMENTS - 1), fc.constant('number' as const)),
  comparison: fc.constantFrom('eq', 'ne', 'gt', 'ge', 'lt', 'le', 'bits'),
  with: fc.nat(3),
});

const { body: anyBody } = fc.letrec<{ body: Body; statement: Statement }>((tie) => {
  const kind = <K extends string>(name: K) => fc.constant(name);
  const body = tie('body');
  const optional = fc.option(body, { nil: undefined });
  const simple: fc.Arbitrary<Statement> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constantFrom('add', 'raw', 'temporary'), amount: fc.nat(5) }),
    },
    { weight: 2, arbitrary: fc.record({ kind: kind('argument'), index: fc.nat(ARGUMENTS - 1) }) },
    { weight: 2, arbitrary: fc.record({ kind: kind('helper') }) },
    { weight: 2, arbitrary: fc.record({ kind: kind('function'), index: fc.nat(2) }) },
    { weight: 3, arbitrary: fc.record({ kind: kind('leave'), level: fc.nat(2) }) },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: kind('jump'),
        level: fc.nat(2),
        bit: fc.option(fc.nat(3), { nil: undefined }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: kind('exit'), value: fc.option(fc.nat(9), { nil: undefined }) }),
    },
  );
  const compound: fc.Arbitrary<Statement> = fc.oneof(
    fc.record({ kind: kind('if'), question, yes: body, otherwise: optional }),
    fc.record({ kind: kind('if'), question, yes: body, otherwise: optional }),
    fc.record({
      kind: kind('switch'),
      index: fc.nat(ARGUMENTS - 1),
      cases: fc.array(body, { minLength: 1, maxLength: 4 }),
      otherwise: optional,
    }),
    fc.record({ kind: kind('block'), body }),
    fc.record({ kind: kind('keep'), body }),
    fc.record({ kind: kind('labelled'), body }),
    fc.record({ kind: kind('loop'), times: fc.integer({ min: 1, max: 3 }), testFirst: fc.boolean(), body }),
  );
  return {
    body: fc.array(tie('statement'), { minLength: 1, maxLength: 4, size: 'max' }),
    statement: fc.oneof(
      { maxDepth: 3, depthSize: 'max', withCrossShrink: true },
      { weight: 4, arbitrary: simple },
      { weight: 5, arbitrary: compound },
    ),
  };
});

export const anyFlow: fc.Arbitrary<Flow> = fc
  .record({ main: anyBody, functions: fc.array(anyBody, { maxLength: 2 }) })
  .map(({ main, functions }) => {
    const trimmed = functions.map((body, index) => trim(body, functions.length - 1 - index));
    return { main: trim(main, functions.length), functions: trimmed };
  });

// --- valid programs ------------------------------------------------------------------------------------

interface Around {
  /** The number of enclosing blocks, labels, kept values and loops. */
  readonly blocks: number;
  readonly labels: number;
  readonly kept: number;
  readonly loops: number;
  /** The number of callable functions. */
  readonly functions: number;
}

/**
 * A body that the builder accepts: no unreachable statements, and every jump has its block or label around
 * it.
 */
function trim(body: Body, functions: number): Body {
  return trimmed(body, { blocks: 0, labels: 0, kept: 0, loops: 0, functions });
}

function trimmed(body: Body, around: Around): Body {
  const made: Statement[] = [];
  for (const statement of body) {
    const checked = valid(statement, around);
    if (checked === undefined) continue;
    made.push(checked);
    if (ends(checked)) break;
  }
  return made;
}

function valid(statement: Statement, around: Around): Statement | undefined {
  const within = (body: Body, more: Partial<Around> = {}) => trimmed(body, { ...around, ...more });
  switch (statement.kind) {
    case 'function':
      return around.functions === 0 ? undefined : { ...statement, index: statement.index % around.functions };
    case 'leave':
      return around.blocks === 0 ? undefined : { ...statement, level: statement.level % around.blocks };
    case 'jump':
      return around.labels === 0 ? undefined : { ...statement, level: statement.level % around.labels };
    case 'if':
      return {
        ...statement,
        yes: within(statement.yes),
        otherwise: statement.otherwise && within(statement.otherwise),
      };
    case 'switch':
      return {
        ...statement,
        cases: statement.cases.map((each) => within(each)),
        otherwise: statement.otherwise && within(statement.otherwise),
      };
    case 'block':
      return { ...statement, body: within(statement.body, { blocks: around.blocks + 1 }) };
    case 'labelled':
      return { ...statement, body: within(statement.body, { labels: around.labels + 1 }) };
    case 'keep':
      // r6 holds the context, and loops use r9.
      return around.kept === 2
        ? undefined
        : { ...statement, body: within(statement.body, { kept: around.kept + 1 }) };
    case 'loop':
      return around.loops === 1 ? undefined : { ...statement, body: within(statement.body, { loops: 1 }) };
    default:
      return statement;
  }
}

/** Whether control never reaches the statement's end. */
function ends(statement: Statement): boolean {
  switch (statement.kind) {
    case 'exit':
    case 'leave':
      return true;
    case 'jump':
      return statement.bit === undefined;
    case 'if':
      return statement.otherwise !== undefined && endsAll([statement.yes, statement.otherwise]);
    case 'switch':
      return statement.otherwise !== undefined && endsAll([...statement.cases, statement.otherwise]);
    case 'block':
      return bodyEnds(statement.body) && !leads(statement.body, 'leave', 0);
    case 'labelled':
      return bodyEnds(statement.body) && !leads(statement.body, 'jump', 0);
    case 'keep':
      return bodyEnds(statement.body);
    case 'loop':
      return bodyEnds(statement.body) && !statement.testFirst;
    default:
      return false;
  }
}

function endsAll(bodies: readonly Body[]): boolean {
  return bodies.every(bodyEnds);
}

function bodyEnds(body: Body): boolean {
  const last = body.at(-1);
  return last !== undefined && ends(last);
}

/** Whether a `leave` or `jump` in a body targets the block or label `level` levels around it. */
function leads(body: Body, kind: 'leave' | 'jump', level: number): boolean {
  const opens = kind === 'leave' ? 'block' : 'labelled';
  return body.some((statement) => {
    if (statement.kind === kind) return statement.level === level;
    const inner = statement.kind === opens ? level + 1 : level;
    return bodiesOf(statement).some((each) => leads(each, kind, inner));
  });
}

function bodiesOf(statement: Statement): readonly Body[] {
  switch (statement.kind) {
    case 'if':
      return [statement.yes, statement.otherwise ?? []];
    case 'switch':
      return [...statement.cases, statement.otherwise ?? []];
    case 'block':
    case 'keep':
    case 'labelled':
    case 'loop':
      return [statement.body];
    default:
      return [];
  }
}

// --- translation to the builder -------------------------------------------------------------------------

/** The context of one function's statements. */
interface Writer {
  readonly b: Builder;
  readonly number: Place;
  readonly functions: readonly Subprogram<[typeof u64]>[];
  readonly isFunction: boolean;
  fresh(): string;
}

/** Translates a program to a body for the builder. */
export function write({ main, functions }: Flow): (b: Builder) => void {
  const subprograms: Subprogram<[typeof u64]>[] = [];
  for (const [index, body] of [...functions.entries()].reverse()) {
    const later = [...subprograms];
    subprograms.unshift(
      subprogram(
        `f${index}`,
        [u64],
        (b, value) => {
          const number = b.stack(u64, value) as Place;
          b.keep(b.context);
          const writer = { b, number, functions: later, isFunction: true, fresh: labels() };
          writeBody(body, writer, [], []);
          if (!bodyEnds(body)) b.return(number.get());
        },
        { context: true },
      ),
    );
  }
  return (b) => {
    // Begin with a number that the verifier does not know, so that it does not explore a path for each
    // number.
    const number = b.stack(u64, b.arg(0)) as Place;
    b.keep(b.context);
    writeBody(main, { b, number, functions: subprograms, isFunction: false, fresh: labels() }, [], []);
    if (!bodyEnds(main)) b.exit(number.get());
  };
}

function labels(): () => string {
  let count = 0;
  return () => `label${count++}`;
}

type Leaves = readonly (() => void)[];

function writeBody(body: Body, writer: Writer, leaves: Leaves, names: readonly string[]): void {
  for (const statement of body) writeStatement(statement, writer, leaves, names);
}

function writeStatement(
  statement: Statement,
  writer: Writer,
  leaves: Leaves,
  names: readonly string[],
): void {
  const { b, number, functions, isFunction } = writer;
  const within = (body: Body | undefined) => {
    const [first] = body ?? [];
    // Pass `leave` itself as an arm.
    if (body?.length === 1 && first?.kind === 'leave') return leaves[first.level] as () => void;
    return body && (() => writeBody(body, writer, leaves, names));
  };
  switch (statement.kind) {
    // Temporaries end with their block.
    case 'add':
      b.block(() => number.set(number.get().mul(3).add(statement.amount)));
      return;
    case 'temporary':
      b.block(() => {
        const value = b.value(statement.amount);
        number.set(number.get().mul(5).sub(value));
      });
      return;
    case 'raw':
      b.emit(ldx(u64, r2, r10, AT), mov(r3, statement.amount), add(r2, r3), stx(u64, r10, AT, r2));
      return;
    case 'argument':
      b.block(() => number.set(number.get().add(b.arg(statement.index))));
      return;
    case 'helper':
      b.call(getSmpProcessorId);
      return;
    case 'function':
      b.block(() => {
        const value = b.call(functions[statement.index] as Subprogram<[typeof u64]>, number.get());
        number.set(value.add(b.arg(0)));
      });
      return;
    case 'keep':
      b.block(() => {
        const value = b.keep(number);
        writeBody(statement.body, writer, leaves, names);
        if (!bodyEnds(statement.body)) number.set(number.get().mul(7).add(value));
      });
      return;
    case 'if':
      b.if(
        conditionOf(statement.question, writer),
        within(statement.yes) as () => void,
        within(statement.otherwise),
      );
      return;
    case 'switch':
      b.switch(
        b.arg(statement.index),
        statement.cases.map((body, index) => [index, within(body) as () => void]),
        within(statement.otherwise),
      );
      return;
    case 'block':
      b.block((leave) => writeBody(statement.body, writer, [leave, ...leaves], names));
      return;
    case 'leave':
      leaves[statement.level]?.();
      return;
    case 'labelled': {
      const name = writer.fresh();
      writeBody(statement.body, writer, leaves, [name, ...names]);
      if (!ends(statement)) b.emit(label(name));
      return;
    }
    case 'jump': {
      const name = names[statement.level] as string;
      if (statement.bit === undefined) b.emit(ja(name));
      else b.emit(ldx(u64, r2, r10, AT), jset(r2, 2 ** statement.bit, name));
      return;
    }
    case 'loop': {
      const [name, test] = [writer.fresh(), writer.fresh()];
      b.emit(mov(r9, 0), ...(statement.testFirst ? [ja(test)] : []), label(name));
      writeBody(statement.body, writer, leaves, names);
      if (!bodyEnds(statement.body)) b.emit(add(r9, 1));
      if (!ends(statement)) b.emit(label(test), jlt(r9, statement.times, name));
      return;
    }
    case 'exit':
      if (isFunction) b.return(statement.value ?? number.get());
      else b.exit(statement.value ?? number.get());
  }
}

function conditionOf({ of, comparison, with: amount }: Question, { b, number }: Writer): Condition {
  return (of === 'number' ? number : b.arg(of))[comparison](amount);
}

// --- model ---------------------------------------------------------------------------------------------

/** The continuation: the next statement, the end of a block or label `level` levels around, or an exit. */
type Completion =
  | 'next'
  | { readonly kind: 'leave' | 'jump'; readonly level: number }
  | { readonly kind: 'exit'; readonly value: bigint };

interface State {
  number: bigint;
  readonly args: readonly bigint[];
  readonly functions: readonly Body[];
}

/** The program's result for these arguments, the low 32 bits. */
export function compute({ main, functions }: Flow, args: readonly bigint[]): number {
  return Number(BigInt.asUintN(32, result(main, args[0] as bigint, args, functions)));
}

function result(body: Body, number: bigint, args: readonly bigint[], functions: readonly Body[]): bigint {
  const state: State = { number, args, functions };
  const completion = runBody(body, state);
  return completion === 'next' ? state.number : (completion as { readonly value: bigint }).value;
}

function runBody(body: Body, state: State): Completion {
  for (const statement of body) {
    const completion = run(statement, state);
    if (completion !== 'next') return completion;
  }
  return 'next';
}

function run(statement: Statement, state: State): Completion {
  const set = (number: bigint): Completion => {
    state.number = BigInt.asUintN(64, number);
    return 'next';
  };
  switch (statement.kind) {
    case 'add':
      return set(state.number * 3n + BigInt(statement.amount));
    case 'temporary':
      return set(state.number * 5n - BigInt(statement.amount));
    case 'raw':
      return set(state.number + BigInt(statement.amount));
    case 'argument':
      return set(state.number + (state.args[statement.index] as bigint));
    case 'helper':
      return 'next';
    case 'function': {
      const { functions } = state;
      const later = functions.slice(statement.index + 1);
      const value = result(functions[statement.index] as Body, state.number, state.args, later);
      return set(value + (state.args[0] as bigint));
    }
    case 'keep': {
      const kept = state.number;
      const completion = runBody(statement.body, state);
      return completion === 'next' ? set(state.number * 7n + kept) : completion;
    }
    case 'if':
      return runBody((holds(statement.question, state) ? statement.yes : statement.otherwise) ?? [], state);
    case 'switch': {
      const chosen = statement.cases[Number(state.args[statement.index])] ?? statement.otherwise;
      return runBody(chosen ?? [], state);
    }
    case 'block':
      return outOf('leave', runBody(statement.body, state));
    case 'labelled':
      return outOf('jump', runBody(statement.body, state));
    case 'leave':
      return { kind: 'leave', level: statement.level };
    case 'jump': {
      const { bit, level } = statement;
      return bit === undefined || (state.number >> BigInt(bit)) & 1n ? { kind: 'jump', level } : 'next';
    }
    case 'loop': {
      for (let round = 0; round < statement.times; round++) {
        const completion = runBody(statement.body, state);
        if (completion !== 'next') return completion;
      }
      return 'next';
    }
    case 'exit':
      return { kind: 'exit', value: BigInt(statement.value ?? state.number) };
  }
}

function outOf(kind: 'leave' | 'jump', completion: Completion): Completion {
  if (completion === 'next' || completion.kind !== kind) return completion;
  return completion.level === 0 ? 'next' : { kind, level: completion.level - 1 };
}

function holds({ of, comparison, with: amount }: Question, { number, args }: State): boolean {
  const left = of === 'number' ? number : (args[of] as bigint);
  const right = BigInt(amount);
  const answers = {
    eq: left === right,
    ne: left !== right,
    gt: left > right,
    ge: left >= right,
    lt: left < right,
    le: left <= right,
    bits: (left & right) !== 0n,
  };
  return answers[comparison];
}
