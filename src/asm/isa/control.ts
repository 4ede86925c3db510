/** The rows for jumps, calls and exits (RFC 9669, section 4.3). */

import { once } from '../once.ts';
import type { Kind } from '../operands.ts';
import { CALLER_SAVED, type Form, form, HALVES, JMP, JMP32, X } from './form.ts';

interface Compare {
  readonly name: string;
  readonly op: number;
  readonly sign: string;
  readonly since: string;
  readonly imm32: Kind;
  /** The `op` of the inverse comparison. */
  readonly inverse?: number;
}

/**
 * Comparisons. A 64-bit comparison sign-extends its immediate; the immediate of a signed 32-bit comparison is
 * signed.
 */
const COMPARES: readonly Compare[] = [
  { name: 'jeq', op: 0x10, inverse: 0x50, sign: '==', since: '3.18', imm32: 'word' },
  { name: 'jgt', op: 0x20, inverse: 0xb0, sign: '>', since: '3.18', imm32: 'word' },
  { name: 'jge', op: 0x30, inverse: 0xa0, sign: '>=', since: '3.18', imm32: 'word' },
  { name: 'jset', op: 0x40, sign: '&', since: '3.18', imm32: 'word' },
  { name: 'jne', op: 0x50, inverse: 0x10, sign: '!=', since: '3.18', imm32: 'word' },
  { name: 'jsgt', op: 0x60, inverse: 0xd0, sign: 's>', since: '3.18', imm32: 'signed' },
  { name: 'jsge', op: 0x70, inverse: 0xc0, sign: 's>=', since: '3.18', imm32: 'signed' },
  { name: 'jlt', op: 0xa0, inverse: 0x30, sign: '<', since: '4.14', imm32: 'word' },
  { name: 'jle', op: 0xb0, inverse: 0x20, sign: '<=', since: '4.14', imm32: 'word' },
  { name: 'jslt', op: 0xc0, inverse: 0x70, sign: 's<', since: '4.14', imm32: 'signed' },
  { name: 'jsle', op: 0xd0, inverse: 0x60, sign: 's<=', since: '4.14', imm32: 'signed' },
];

const branches = () =>
  COMPARES.flatMap(({ name, op, sign, since, imm32, inverse }) =>
    HALVES.flatMap(({ bits, jmp, r, suffix }) => {
      const common = {
        name: name + suffix,
        dst: 'register',
        off: 'target',
        flow: 'branch',
        since: bits === 64 ? since : '5.1',
      } as const;
      return [
        form({
          ...common,
          opcode: jmp | op,
          imm: bits === 64 ? 'signed' : imm32,
          reads: ['dst'],
          ...(inverse && { inverse: jmp | inverse }),
          text: `if ${r}{dst} ${sign} {uimm} goto {target}`,
        }),
        form({
          ...common,
          opcode: jmp | op | X,
          src: 'register',
          reads: ['dst', 'src'],
          ...(inverse && { inverse: jmp | inverse | X }),
          text: `if ${r}{dst} ${sign} ${r}{src} goto {target}`,
        }),
      ];
    }),
  );

/** The effects of every call. */
const CALL = { reads: ['arguments', 'memory'], writes: CALLER_SAVED, affects: ['memory'] } as const;

/** Functions of vmlinux and of modules. The kernel's text does not name the module. */
const kernelFunctions = () =>
  (
    [
      { off: 0, since: '5.13', text: 'call kernel-function#{imm}' },
      { off: 'module', since: '5.16', text: 'call kernel-function#{imm} in module[{module}]' },
    ] as const
  ).map((row) =>
    form({
      ...row,
      name: 'callKernelFunction',
      opcode: JMP | 0x80,
      src: 2,
      imm: 'btfId',
      ...CALL,
    }),
  );

const control = () => [
  form({ name: 'ja', opcode: JMP, off: 'target', flow: 'jump', since: '3.18', text: 'goto {target}' }),
  form({
    name: 'gotol',
    opcode: JMP32,
    imm: 'farTarget',
    flow: 'jump',
    since: '6.6',
    text: 'gotol {target}',
  }),
  form({
    name: 'gotox',
    opcode: JMP | X,
    dst: 'register',
    reads: ['dst'],
    flow: 'jump',
    since: '6.19',
    text: 'gotox r{dst}',
  }),
  form({
    name: 'mayGoto',
    opcode: JMP | 0xe0,
    off: 'target',
    flow: 'branch',
    since: '6.9',
    text: 'may_goto {target}',
  }),
  form({
    name: 'call',
    opcode: JMP | 0x80,
    imm: 'helper',
    ...CALL,
    since: '3.18',
    text: 'call {helper}',
  }),
  form({
    name: 'callSubprogram',
    opcode: JMP | 0x80,
    src: 1,
    imm: 'farTarget',
    ...CALL,
    flow: 'call',
    since: '4.16',
    text: 'call {target}',
  }),
  ...kernelFunctions(),
  form({
    name: 'callx',
    opcode: JMP | X | 0x80,
    dst: 'register',
    ...CALL,
    reads: ['dst', ...CALL.reads],
    onlyIn: 'compilers',
    text: 'callx r{dst}',
  }),
  form({ name: 'exit', opcode: JMP | 0x90, reads: ['r0'], flow: 'exit', since: '3.18', text: 'exit' }),
];

/** The forms of jumps, calls and exits. */
export const controlForms = once((): readonly Form[] => [...control(), ...branches()]);
