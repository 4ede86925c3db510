/**
 * What the verifier's most common reasons mean to the author of a program, and what to do about each.
 *
 * Kernels word them differently: a row has all the wordings that 5.10 to 7.3 have for one reason.
 */

/** A reason and its remedy. */
export interface Hint {
  /** As the verifier says it. */
  readonly reason: RegExp;
  /** A sentence or two, without a full stop at the end. */
  readonly hint: string;
}

/** The first that fits counts: the narrower ones come before the wider ones. */
const HINTS: readonly Hint[] = [
  {
    reason: /invalid mem access '\w*_or_null_?'/,
    hint: 'a lookup gives no pointer where the key has no entry: compare it with 0 before it is read through, as b.lookup() does for its arm `found`',
  },
  {
    reason: /pointer arithmetic on \w*_or_null_? prohibited/,
    hint: 'a lookup gives no pointer where the key has no entry: compare it with 0 before it is moved',
  },
  {
    reason: /!read_ok/,
    hint: 'nothing was written to it on a way that leads here: r1 to r5 are lost at every call, and at the start only r1 (the context) and r10 hold something; keep() what is needed after a call',
  },
  {
    reason: /invalid mem access '(scalar|inv)'/,
    hint: "to the verifier it is a number, no address: the kernel's memory is read by bpf_probe_read_kernel, as b.kernel() does it, and pointers lose their type where they are stored in a map or computed with",
  },
  {
    reason: /invalid access to map value/,
    hint: 'the access reaches outside the value that the map was declared with: compare offset and size with its schema',
  },
  {
    reason: /math between fp pointer|variable(-| )offset|variable stack|unbounded indirect variable/,
    hint: 'a place on the stack must be known when the program is loaded: use a map where the index is known only when it runs',
  },
  {
    reason:
      /math between \w+ pointer and register with unbounded|unbounded memory access, make sure|unbounded min value|min value is (negative|outside).*(index|map)|pointer offset .* is not allowed|value .* makes \w+ pointer be out of bounds/,
    hint: 'a number without a least and a most is no index, and with its sign it may be below zero: mask it (and), or compare it without a sign (jgt, not jsgt) with what fits, before it is added',
  },
  {
    reason: /min value is negative, either use unsigned or|unbounded memory access, use 'var &= const'/,
    hint: 'how many bytes a helper may touch must have a limit: mask the number (and), or compare it with the size of the memory first',
  },
  {
    reason: /invalid zero-sized read/,
    hint: 'the number of bytes may be zero, which this helper does not take: compare it with 0 first',
  },
  {
    reason: /misaligned stack access|misaligned access off/,
    hint: 'what lies on the stack is read and written at a multiple of its size: 8 bytes at -8, -16 and so on',
  },
  {
    reason: /combined stack size/,
    hint: 'functions that call each other share 512 bytes of stack, each frame rounded up to 16 or 32, where the kernel does not give each a stack of its own (Linux 6.13, for most that trace): put something into a map, or hand it down by its address',
  },
  {
    reason: /writes \d+ stack arg slots, but calls only require/,
    hint: 'a subprogram has as many arguments as it reads (loadArgument): store none past the last that it does',
  },
  {
    reason: /expects \d+ arg.*stack arg|Missing stack argument/,
    hint: 'a call takes the arguments on the stack with it: every one up to the last that the subprogram reads is stored before each call (storeArgument)',
  },
  {
    reason: /tail_calls are not allowed when call stack/,
    hint: 'a subprogram makes tail calls where less than 256 bytes of stack are in use above it: put something of its callers into a map, or make the call in the program itself',
  },
  {
    reason: /tail_calls are not allowed in/,
    hint: 'a program makes tail calls and has subprograms only where the kernel compiles it so: since Linux 5.10 on x86-64, 6.0 on arm64',
  },
  {
    reason:
      /invalid (read from|write to|(indirect )?access to|indirect read from|unbounded .*) ?stack|invalid stack (type|off)|invalid indirect read from stack|stack .*too large/i,
    hint: 'a frame has 512 bytes, from -512 to -1, all of its callers included, and before Linux 6.3 a helper is given none that was not written',
  },
  {
    reason: /invalid bpf_context access/,
    hint: 'the context of this type of program has no such field: arguments are read by b.arg(), at the offsets that the hook gives them',
  },
  {
    reason: /dereference of modified ctx ptr|variable ctx access/,
    hint: 'a helper takes the context as the program was given it, and on older kernels a load does too: put the offset in the load, and move a copy where it must be moved',
  },
  {
    reason: /infinite loop detected|back-edge from insn/,
    hint: 'a loop must come to an end that the verifier can see: count something in it, and leave by comparing that with a constant (before Linux 5.3 there are no loops at all)',
  },
  {
    reason: /sequence of \d+ jumps is too complex/,
    hint: 'the verifier keeps 8192 branches in mind that it has yet to follow: use fewer comparisons in a row, or look the value up in a map',
  },
  {
    reason: /BPF program is too large|too complex/,
    hint: 'the verifier follows a million instructions, over all ways and rounds of loops: make the program shorter, its loops fewer rounds, or what is done in them a subprogram called by bpf_loop (Linux 5.17)',
  },
  {
    reason: /(cannot use helper|unknown func) bpf_probe_(read|write)/,
    hint: 'this kernel lacks that helper (bpf_probe_read_kernel: before Linux 5.5), or kernel lockdown hides it: see /sys/kernel/security/lockdown, where securityfs is mounted',
  },
  {
    reason: /program of this type cannot use helper|unknown func (?!unknown)/,
    hint: 'programs of this type may not call that helper, or this kernel does not have it for them: see bpftool feature probe',
  },
  {
    reason: /invalid func unknown/,
    hint: 'this kernel has no such helper: see bpftool feature probe',
  },
  {
    reason: /cannot call GPL[- ]restricted function/,
    hint: 'that helper is for programs under the GPL: declare a licence that is compatible with it',
  },
  {
    reason: /cannot pass map_type/,
    hint: 'that helper does not work on maps of that type: see man 7 bpf-helpers',
  },
  {
    reason: /type=\S+ expected=/,
    hint: 'the helper asks for something else here: an address of memory instead of a number, a map, or the context, in the order of man 7 bpf-helpers',
  },
  {
    reason: /32-bit pointer arithmetic prohibited/,
    hint: 'a pointer has 64 bits: add to it by add, not by add32',
  },
  {
    reason: /on pointer prohibited|pointer (\S+ pointer )?prohibited|pointer arithmetic/,
    hint: 'a pointer may only be added to or taken from by numbers, and compared: copy it into a number, by way of the stack or a map, where its bits are wanted',
  },
  {
    reason: /write into map forbidden|read into map forbidden|read from map forbidden/,
    hint: 'the map was created so that programs may only read, or only write it: see its flags (BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG)',
  },
  {
    reason: /access beyond (the end of )?(member|struct)|access beyond the end/,
    hint: 'the access reaches behind the end of the structure that the pointer is of: a larger one that begins with it is read by probe (cast)',
  },
  {
    reason: /only read is supported|cannot write into|write to .* is not allowed/,
    hint: 'programs may read structures of the kernel, not write them',
  },
  {
    reason: /Unreleased reference|reference leak/i,
    hint: 'what was acquired has to be given back on every way to the end: ring buffer records submitted or discarded, objects released',
  },
  {
    reason: /At program exit the register R0|R0 has (unknown|value)|At .* R0 .* should have been/,
    hint: 'a program of this type may only return certain values: set r0 to one of them before each exit',
  },
  {
    reason: /unknown opcode|uses reserved fields|invalid BPF_\w+ opcode|invalid opcode/,
    hint: 'this kernel has no such instruction: it is of a later one, or has a field set that must be zero (RFC 9669)',
  },
];

/** The remedy for a reason, as the verifier words it in one line or several; undefined for one that isn't among the common ones. */
export function hintFor(told: string): string | undefined {
  // Some patterns take quadratic time on a long line. The kernel's own lines are shorter than this.
  const lines = told.replace(/^(.{1024}).*$/gm, '$1');
  return HINTS.find(({ reason }) => reason.test(lines))?.hint;
}
