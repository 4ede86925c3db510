/**
 * The grammar of instructions: one tree of the texts in the instruction table. Forms that begin alike share a
 * path until they differ, and an error lists what could follow at that point.
 */

import { PLACEHOLDER } from '../isa/form.ts';
import { allForms, type Form } from '../isa.ts';

/** A piece of a form's text: a literal or an operand. */
export interface Piece {
  /** The placeholder's name; undefined for a literal. */
  readonly operand?: string;
  /**
   * Matches the piece at `lastIndex` (sticky), after any blanks. The first group, if there is one, is the
   * operand.
   */
  readonly pattern: RegExp;
  /** The first character, if it is always the same. It excludes most pieces without running the pattern. */
  readonly first?: string;
  /** The piece's name in messages. */
  readonly name: string;
}

/** A node of the tree: the pieces that may follow, and the forms that are complete here. */
export interface Node {
  readonly edges: Map<string, { readonly piece: Piece; readonly node: Node }>;
  readonly ends: Form[];
}

/** The words, operators and brackets of a literal. */
const TOKENS = /s?(?:>>=|<<=|[-+*/%&|^<>!=]=|[<>])|[A-Za-z_][\w-]*|\d+|[^\s\w]/g;

const NUMBER = '[-+]?(?:0x[0-9a-fA-F]+|\\d+)';
const LABEL = '[A-Za-z_.$][\\w.$]*';

/** Operands by placeholder: their pattern, and their name in messages. */
const OPERANDS: Readonly<Record<string, readonly [pattern: string, name: string]>> = {
  off: ['([-+]\\s*\\d+)\\b', "a signed offset such as '+8'"],
  module: ['(\\d+)\\b', 'a number'],
  imm: [`(${NUMBER})\\b`, 'a number'],
  high: [`(${NUMBER})\\b`, 'a number'],
  uimm: [`(${NUMBER})\\b`, 'a number'],
  imm64: ['(0x[0-9a-fA-F]+)\\b', 'a hexadecimal number'],
  'imm.hi': ['(\\d+)\\b', 'a number'],
  'imm.lo': ['(\\d+)\\b', 'a number'],
  // A dump appends the kernel's name of the function.
  target: [`((?:pc)?[-+]\\d+\\b|${LABEL})(?:#(?:bpf_prog_\\w+|0x[0-9a-f]+))?`, "a label or 'pc+N'"],
  distance: [`([-+]\\d+\\b|${LABEL})`, "a label or '+N'"],
  helper: ['((?:bpf_\\w+|unknown)(?:#-?\\d+)?|\\w+#-?\\d+)', "a helper such as 'bpf_ktime_get_ns'"],
  map: ['(id:\\d+|[\\w.]+)', 'a map name'],
};

function operand(name: string, letter: string | undefined): Piece {
  if (letter !== undefined)
    return {
      operand: name,
      pattern: new RegExp(`${letter}(10|\\d)\\b`, 'y'),
      first: letter,
      name: `${letter}0 to ${letter}10`,
    };
  const [pattern, called] = OPERANDS[name] ?? [];
  if (pattern === undefined || called === undefined)
    throw new TypeError(`the instruction table has an unknown placeholder '${name}'`);
  return { operand: name, pattern: new RegExp(pattern, 'y'), name: called };
}

function literal(token: string): Piece {
  const escaped = token.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&');
  return {
    pattern: new RegExp(/\w$/.test(token) ? `${escaped}(?![\\w.])` : escaped, 'y'),
    first: token[0],
    name: `'${token}'`,
  };
}

/** Splits a form's text into pieces. */
export function piecesOf(text: string): Piece[] {
  const pieces: Piece[] = [];
  let end = 0;
  for (const found of text.matchAll(PLACEHOLDER)) {
    const name = found[1] as string;
    const before = text.slice(end, found.index);
    const register = name === 'dst' || name === 'src';
    pieces.push(...literals(register ? before.slice(0, -1) : before));
    pieces.push(operand(name, register ? before.at(-1) : undefined));
    end = found.index + found[0].length;
  }
  return [...pieces, ...literals(text.slice(end))];
}

function literals(text: string): Piece[] {
  return (text.match(TOKENS) ?? []).map(literal);
}

let tree: Node | undefined;

/** The tree of all forms, built on first use. */
export function grammar(): Node {
  if (tree !== undefined) return tree;
  tree = newNode();
  for (const form of allForms()) {
    let node = tree;
    for (const piece of piecesOf(form.text)) {
      const key = `${piece.operand ?? ''} ${piece.pattern.source}`;
      const edge = node.edges.get(key) ?? { piece, node: newNode() };
      node.edges.set(key, edge);
      node = edge.node;
    }
    node.ends.push(form);
  }
  return tree;
}

function newNode(): Node {
  return { edges: new Map(), ends: [] };
}
