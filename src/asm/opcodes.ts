/**
 * Opcodes that code compares with directly. All others are only rows of the instruction table.
 *
 * Source: RFC 9669, section 4.3; for `gotox` kernel/bpf/verifier.c (Linux 6.19).
 */

/** `goto`: the distance is in the offset. */
export const JA = 0x05;
/** `gotol`: the distance is in the immediate. */
export const GOTOL = 0x06;
/** `gotox`: jumps to an address in a register, loaded from a jump table. */
export const GOTOX = 0x0d;
/** `call` of a helper, a subprogram or a kernel function. */
export const CALL = 0x85;
/** `exit`. */
export const EXIT = 0x95;
/** `BPF_LD | BPF_IMM | BPF_DW`, the only opcode with two slots. */
export const LDDW = 0x18;
