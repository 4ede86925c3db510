/**
 * The verifier's common reasons, explained to the author of a program, with a remedy each.
 *
 * Kernels word a reason differently: each row has the wordings of Linux 5.10 to 7.3.
 */

/** A reason and its remedy. */
export interface Hint {
  /** Matches the verifier's wordings. */
  readonly reason: RegExp;
  /** One or several clauses, without a final full stop. */
  readonly hint: string;
}

/** The first match counts, so narrow patterns come first. */
const HINTS: readonly Hint[] = [
  {
    reason: /invalid mem access '\w*_or_null_?'/,
    hint: 'a lookup returns 0 if the map has no such key: compare the pointer with 0 before reading through it, as b.lookup() does for its arm `found`',
  },
  {
    reason: /pointer arithmetic on \w*_or_null_? prohibited/,
    hint: 'a lookup returns 0 if the map has no such key: compare the pointer with 0 before adding to it',
  },
  {
    reason: /!read_ok/,
    hint: 'the register is not set on a path that leads here: every call clears r1 to r5, and at the start only r1 (the context) and r10 are set; keep() a value that is needed after a call',
  },
  {
    reason: /invalid mem access '(scalar|inv)'/,
    hint: 'the register is a number and not a pointer to the verifier: read kernel memory with bpf_probe_read_kernel, as b.kernel() does; a pointer loses its type in arithmetic and when it is stored in a map',
  },
  {
    reason: /invalid access to map value/,
    hint: 'the access is outside the map value: compare its offset and size with the schema of the map',
  },
  {
    reason: /math between fp pointer|variable(-| )offset|variable stack|unbounded indirect variable/,
    hint: 'a stack offset must be constant: for an index that is known only at run time, use a map',
  },
  {
    reason:
      /math between \w+ pointer and register with unbounded|unbounded memory access, make sure|unbounded min value|min value is (negative|outside).*(index|map)|pointer offset .* is not allowed|value .* makes \w+ pointer be out of bounds/,
    hint: 'an index must have a lower and an upper bound, and a signed number may be negative: mask it (and), or compare it unsigned (jgt, not jsgt) with its limit before adding it',
  },
  {
    reason: /min value is negative, either use unsigned or|unbounded memory access, use 'var &= const'/,
    hint: 'the size for a helper must have an upper bound: mask it (and), or compare it with the size of the memory first',
  },
  {
    reason: /invalid zero-sized read/,
    hint: 'the size may be zero, which this helper does not accept: compare it with 0 first',
  },
  {
    reason: /misaligned stack access|misaligned access off/,
    hint: 'stack accesses must be aligned to their size: 8 bytes at -8, -16 and so on',
  },
  {
    reason: /combined stack size/,
    hint: 'nested calls share 512 bytes of stack, each frame rounded up to 16 or 32 bytes; since Linux 6.13 most tracing programs have a separate stack for each function: move data into a map, or pass its address to the subprogram',
  },
  {
    reason: /writes \d+ stack arg slots, but calls only require/,
    hint: 'a subprogram has as many stack arguments as it reads (loadArgument): do not store more',
  },
  {
    reason: /expects \d+ arg.*stack arg|Missing stack argument/,
    hint: 'a call consumes the stack arguments: store all that the subprogram reads before each call (storeArgument)',
  },
  {
    reason: /tail_calls are not allowed when call stack/,
    hint: 'a subprogram can make a tail call only if its callers use less than 256 bytes of stack: move data of the callers into a map, or make the tail call in the program itself',
  },
  {
    reason: /tail_calls are not allowed in/,
    hint: 'this kernel does not support tail calls in programs with subprograms (x86-64: Linux 5.10, arm64: 6.0): make the subprograms inline',
  },
  {
    reason:
      /invalid (read from|write to|(indirect )?access to|indirect read from|unbounded .*) ?stack|invalid stack (type|off)|invalid indirect read from stack|stack .*too large/i,
    hint: 'a stack has 512 bytes at -512 to -1, including the frames of all callers; before Linux 6.3 memory for a helper must be initialized: use less stack, or write it first',
  },
  {
    reason: /invalid bpf_context access/,
    hint: 'the context of this program type has no such field: read arguments with b.arg(), which knows their offsets',
  },
  {
    reason: /dereference of modified ctx ptr|variable ctx access/,
    hint: 'a helper needs the unmodified context, and on older kernels a load does too: put the offset into the load, and modify a copy of the pointer only',
  },
  {
    reason: /infinite loop detected|back-edge from insn/,
    hint: 'the verifier must see the end of a loop: count its iterations, and leave it by comparing the count with a constant (before Linux 5.3 loops are not supported)',
  },
  {
    reason: /sequence of \d+ jumps is too complex/,
    hint: 'the verifier remembers at most 8192 pending branches: use fewer comparisons in a row, or look up the value in a map',
  },
  {
    reason: /BPF program is too large|too complex/,
    hint: 'the verifier checks at most a million instructions over all paths and loop iterations: shorten the program or its loops, or move the loop body into a subprogram for bpf_loop (Linux 5.17)',
  },
  {
    reason: /(cannot use helper|unknown func) bpf_probe_(read|write)/,
    hint: 'this kernel lacks the helper (bpf_probe_read_kernel: Linux 5.5 and later), or kernel lockdown hides it: see /sys/kernel/security/lockdown, if securityfs is mounted',
  },
  {
    reason: /program of this type cannot use helper|unknown func (?!unknown)/,
    hint: 'this program type may not call the helper on this kernel: see bpftool feature probe',
  },
  {
    reason: /invalid func unknown/,
    hint: 'this kernel has no such helper: see bpftool feature probe',
  },
  {
    reason: /cannot call GPL[- ]restricted function/,
    hint: 'the helper requires a GPL-compatible license: declare one',
  },
  {
    reason: /cannot pass map_type/,
    hint: 'the helper does not support maps of this type: see man 7 bpf-helpers',
  },
  {
    reason: /type=\S+ expected=/,
    hint: 'the argument has the wrong type: pass memory, a number, a map or the context in the order of man 7 bpf-helpers',
  },
  {
    reason: /32-bit pointer arithmetic prohibited/,
    hint: 'a pointer has 64 bits: use add instead of add32',
  },
  {
    reason: /on pointer prohibited|pointer (\S+ pointer )?prohibited|pointer arithmetic/,
    hint: 'pointers support addition and subtraction of numbers, and comparison: to use the bits of a pointer, store it on the stack or in a map and load it as a number',
  },
  {
    reason: /write into map forbidden|read into map forbidden|read from map forbidden/,
    hint: 'the map is read-only or write-only for programs: see its flags (BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG)',
  },
  {
    reason: /access beyond (the end of )?(member|struct)|access beyond the end/,
    hint: 'the access is beyond the end of the structure: to read a larger structure that begins with it, use a probe read (cast)',
  },
  {
    reason: /only read is supported|cannot write into|write to .* is not allowed/,
    hint: 'programs may not write kernel structures; they may only read them',
  },
  {
    reason: /Unreleased reference|reference leak/i,
    hint: 'release acquired objects on every path to the exit: submit or discard ring buffer records, release references',
  },
  {
    reason: /At program exit the register R0|R0 has (unknown|value)|At .* R0 .* should have been/,
    hint: 'this program type may only return certain values: set r0 to one of them before each exit',
  },
  {
    reason: /unknown opcode|uses reserved fields|invalid BPF_\w+ opcode|invalid opcode/,
    hint: 'this kernel does not know the instruction: it needs a later kernel, or has a reserved field set (RFC 9669)',
  },
];

/**
 * Returns the remedy for a reason, in one or several lines of the verifier's log. Undefined for an uncommon
 * reason.
 */
export function hintFor(reasons: string): string | undefined {
  // Some patterns take quadratic time on a long line. The kernel's lines are shorter than this.
  const lines = reasons.replace(/^(.{1024}).*$/gm, '$1');
  return HINTS.find(({ reason }) => reason.test(lines))?.hint;
}
