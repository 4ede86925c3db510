/**
 * The name of a kernel function in a hook, in the syntax of `kprobe_events`: `tcp_v4_connect`,
 * `nf_conntrack:nf_conntrack_in`, `tcp_v4_connect+0x10`, `0xffffffff81234560`.
 *
 * Source: Documentation/trace/kprobetrace.rst.
 */

/** The parts of a function's name. Either `symbol` or `address` is present. */
export interface FunctionName {
  /** The module, as in /proc/modules; absent for any function with this symbol. */
  readonly module?: string;
  /** The symbol, as in /proc/kallsyms. */
  readonly symbol?: string;
  /** The distance from the symbol in bytes; 0 at the function's entry. */
  readonly offset: number;
  /** The address of an instruction. */
  readonly address?: bigint;
}

const SYMBOL = /^(?:([\w*?[\]-]+):)?([^\s:+]+)(?:\+(0x[\da-f]+|\d+))?$/i;
const ADDRESS = /^0x[\da-f]{1,16}$/i;

/** Splits a name into its parts. @throws {RangeError} for any other syntax. */
export function parseFunctionName(text: string): FunctionName {
  if (ADDRESS.test(text)) return { address: BigInt(text), offset: 0 };
  const [, module, symbol, offset = '0'] = SYMBOL.exec(text) ?? [];
  if (symbol === undefined)
    throw new RangeError(
      `'${text}' is no kernel function; write SYMBOL, MODULE:SYMBOL, SYMBOL+OFFSET or 0xADDRESS`,
    );
  // Module files may have '-' in their names; the kernel always has '_'.
  return { ...(module && { module: module.replaceAll('-', '_') }), symbol, offset: Number(offset) };
}

/** Whether a name is a pattern of names: it has a wildcard. */
export function isPattern(name: string): boolean {
  return /[*?[]/.test(name);
}

/** Writes an address as `parseFunctionName` reads it. */
export function addressName(address: bigint): string {
  return `0x${address.toString(16)}`;
}
