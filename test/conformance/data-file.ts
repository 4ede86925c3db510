/** A test of the suite: a file in sections, each after a line of its name, as `-- asm`. */
import { decode } from '../../src/asm/decode.ts';
import type { Item } from '../../src/asm/instruction.ts';
import { readProgram } from './ubpf.ts';

/** What a test runs, and what is to come of it. */
export interface ConformanceTest {
  /** Throws where the program can't be read. */
  readonly program: () => Item[];
  /** What r1 points at; r2 is its length. */
  readonly memory: Uint8Array;
  /** The value of r0, 64 bits; undefined where the program is to be refused. */
  readonly result: bigint | undefined;
}

/** Reads a file. Throws where it has no program, or nothing that is to come of it. */
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

/** Bytes as hexadecimal pairs. */
export function bytesOf(text: string): Uint8Array {
  const digits = text.replace(/\s/g, '');
  if (!/^([0-9a-fA-F]{2})*$/.test(digits))
    throw new Error(`'${text.trim()}' is not made of hexadecimal bytes`);
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}

/** Instructions as numbers of 64 bits, the opcode in the lowest byte. */
function instructionBytes(raw: string): Uint8Array {
  const numbers = raw.trim().split(/\s+/).map(BigInt);
  return new Uint8Array(BigUint64Array.from(numbers).buffer);
}
