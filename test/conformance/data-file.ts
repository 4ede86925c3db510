/**
 * A test of the conformance suite: a file with sections, each after a line with its name, such as `-- asm`.
 */
import { decode } from '../../src/asm/decode.ts';
import type { Item } from '../../src/asm/instruction.ts';
import { readProgram } from './ubpf.ts';

/** A program and its expected result. */
export interface ConformanceTest {
  /** Parses the program. Throws if it is invalid. */
  readonly program: () => Item[];
  /** The memory that r1 points to; r2 is its length. */
  readonly memory: Uint8Array;
  /** The expected r0, 64 bits; undefined if the program must be refused. */
  readonly result: bigint | undefined;
}

/** Parses a file. Throws if it has no program, or neither a result nor an error. */
export function readTest(text: string): ConformanceTest {
  const sections = new Map<string, string>();
  let current = '';
  for (const line of text.split(/\r?\n/)) {
    const heading = /^--\s*(.*?)\s*$/.exec(line)?.[1];
    if (heading === undefined) sections.set(current, `${sections.get(current) ?? ''}${line}\n`);
    else current = heading;
  }
  const [assembly, raw] = [sections.get('asm'), sections.get('raw')];
  const result = sections.get('result')?.trim().split('\n').at(-1);
  if (assembly === undefined && raw === undefined) throw new Error('it has no program');
  if (!result && !sections.has('error')) throw new Error('it has neither result nor error');
  return {
    program: () => (raw === undefined ? readProgram(assembly as string) : decode(instructionBytes(raw))),
    memory: bytesOf(sections.get('mem') ?? ''),
    result: result ? BigInt(result) : undefined,
  };
}

/** Parses pairs of hexadecimal digits. */
export function bytesOf(text: string): Uint8Array {
  const digits = text.replace(/\s/g, '');
  if (!/^([0-9a-fA-F]{2})*$/.test(digits))
    throw new Error(`'${text.trim()}' is not made of hexadecimal bytes`);
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}

/** Parses instructions written as 64-bit numbers, with the opcode in the lowest byte. */
function instructionBytes(raw: string): Uint8Array {
  const numbers = raw.trim().split(/\s+/).map(BigInt);
  return new Uint8Array(BigUint64Array.from(numbers).buffer);
}
