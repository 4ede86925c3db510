/** The mutation operators: small changes to a source that its tests should detect. */
import * as ts from 'typescript/unstable/ast';

const { SyntaxKind } = ts;

/** A change of a source file: `text` replaces the characters from `start` to `end`. */
export interface Edit {
  readonly operator: string;
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** A position in a source with its possible edits. */
export interface Site {
  /** The start of the changed code. Tests that run this position can detect the change. */
  readonly position: number;
  readonly edits: readonly Edit[];
}

const BOUNDARIES: Readonly<Record<string, string>> = { '<': '<=', '<=': '<', '>': '>=', '>=': '>' };

const NEGATIONS: Readonly<Record<string, string>> = {
  '===': '!==',
  '!==': '===',
  '<': '>=',
  '<=': '>',
  '>': '<=',
  '>=': '<',
};

const ARITHMETIC: Readonly<Record<string, string>> = {
  '+': '-',
  '-': '+',
  '*': '/',
  '/': '*',
  '%': '*',
  '**': '*',
  '&': '|',
  '|': '&',
  '^': '&',
  '<<': '>>',
  '>>': '<<',
  '>>>': '<<',
  '+=': '-=',
  '-=': '+=',
  '*=': '/=',
  '|=': '&=',
  '&=': '|=',
  '<<=': '>>=',
  '>>=': '<<=',
};

const LOGIC: Readonly<Record<string, string>> = { '&&': '||', '||': '&&', '??': '&&' };

/** Methods and functions with an opposite. */
const OPPOSITES: Readonly<Record<string, string>> = {
  some: 'every',
  every: 'some',
  min: 'max',
  max: 'min',
  startsWith: 'endsWith',
  endsWith: 'startsWith',
  padStart: 'padEnd',
  padEnd: 'padStart',
  find: 'findLast',
  findLast: 'find',
  indexOf: 'lastIndexOf',
  lastIndexOf: 'indexOf',
  push: 'unshift',
};

/** Methods that can be removed, because their result has the type of their object. */
const REMOVABLE = new Set(['filter', 'sort', 'reverse', 'slice', 'trim', 'toReversed', 'toSorted', 'flat']);

/** Replacements for a function's result. The compiler refuses replacements of the wrong type. */
const RESULTS = ['true', 'false', '0', '0n', 'undefined', '[]'];

/**
 * The sites of a source file, in source order. Types, imports, comments, strings and the contents of `throw`
 * have none.
 */
export function sitesOf(source: ts.SourceFile): Site[] {
  const sites: Site[] = [];
  const visit = (node: ts.Node): void => {
    const edits = editsAt(node, source).filter(
      (edit) => source.text.slice(edit.start, edit.end) !== edit.text,
    );
    if (edits.length > 0) sites.push({ position: node.getStart(source), edits });
    if (!isOpaque(node)) node.forEachChild(visit);
  };
  source.forEachChild(visit);
  return sites;
}

/** Whether a node has no behavior to change: types, imports, and the construction of errors. */
function isOpaque(node: ts.Node): boolean {
  return (
    ts.isTypeNode(node) ||
    ts.isInterfaceDeclaration(node) ||
    ts.isTypeAliasDeclaration(node) ||
    ts.isTypeParameterDeclaration(node) ||
    ts.isImportDeclaration(node) ||
    ts.isExportDeclaration(node) ||
    ts.isThrowStatement(node) ||
    (ts.isNewExpression(node) && /Error$/.test(node.expression.getText()))
  );
}

function editsAt(node: ts.Node, source: ts.SourceFile): Edit[] {
  const edit = (operator: string, range: ts.Node, text: string): Edit => ({
    operator,
    start: range.getStart(source),
    end: range.end,
    text,
  });
  const sourceOf = (each: ts.Node): string => each.getText(source);

  if (ts.isBinaryExpression(node)) return binary(node, edit, sourceOf);
  if (ts.isPrefixUnaryExpression(node)) return prefix(node, edit, sourceOf);
  if (ts.isPostfixUnaryExpression(node)) {
    const other = node.operator === SyntaxKind.PlusPlusToken ? '--' : '++';
    return [edit('arithmetic', node, `${sourceOf(node.operand)}${other}`)];
  }
  if (ts.isIfStatement(node)) return conditions(node.expression, ['true', 'false'], edit);
  if (ts.isWhileStatement(node)) return conditions(node.expression, ['false'], edit);
  if (ts.isConditionalExpression(node)) return conditions(node.condition, ['true', 'false'], edit);
  if (ts.isExpressionStatement(node) || ts.isContinueStatement(node) || ts.isThrowStatement(node))
    return [edit('removed statement', node, '{}')];
  if (ts.isReturnStatement(node)) {
    if (!node.expression) return [edit('removed statement', node, '{}')];
    return results(node.expression, edit);
  }
  if (ts.isArrowFunction(node)) return ts.isBlock(node.body) ? [] : results(node.body, edit);
  if (node.kind === SyntaxKind.TrueKeyword) return [edit('boolean', node, 'false')];
  if (node.kind === SyntaxKind.FalseKeyword) return [edit('boolean', node, 'true')];
  if (ts.isNumericLiteral(node)) return number(node, edit, sourceOf);
  if (ts.isBigIntLiteral(node)) return number(node, edit, sourceOf);
  if (ts.isArrayLiteralExpression(node))
    return node.elements.map((element) => removal('removed element', element, node.elements, source));
  if (ts.isObjectLiteralExpression(node))
    return node.properties.map((property) => removal('removed property', property, node.properties, source));
  if (ts.isCallExpression(node)) return call(node, edit, sourceOf);
  if (ts.isPropertyAccessExpression(node) && node.questionDotToken)
    return [edit('optional chaining', node.questionDotToken, '!.')];
  if (ts.isElementAccessExpression(node) && node.questionDotToken)
    return [edit('optional chaining', node.questionDotToken, '!')];
  return [];
}

type MakeEdit = (operator: string, range: ts.Node, text: string) => Edit;
type SourceOf = (node: ts.Node) => string;

function binary(node: ts.BinaryExpression, edit: MakeEdit, sourceOf: SourceOf): Edit[] {
  const { operatorToken, left, right } = node;
  const operator = sourceOf(operatorToken);
  const edits: Edit[] = [];
  const swap = (name: string, table: Readonly<Record<string, string>>): void => {
    const other = table[operator];
    if (other) edits.push(edit(name, operatorToken, other));
  };
  swap('boundary', BOUNDARIES);
  swap('negated comparison', NEGATIONS);
  swap('arithmetic', ARITHMETIC);
  if (operator in LOGIC) {
    // JavaScript requires parentheses to mix `??` with `&&`, and `a && b
    // c` must keep its tree.
    edits.push(edit('logic', node, `((${sourceOf(left)}) ${LOGIC[operator]} (${sourceOf(right)}))`));
    edits.push(edit('one operand', node, sourceOf(left)), edit('one operand', node, sourceOf(right)));
  }
  return edits;
}

function prefix(node: ts.PrefixUnaryExpression, edit: MakeEdit, sourceOf: SourceOf): Edit[] {
  const operand = sourceOf(node.operand);
  if (node.operator === SyntaxKind.PlusPlusToken) return [edit('arithmetic', node, `--${operand}`)];
  if (node.operator === SyntaxKind.MinusMinusToken) return [edit('arithmetic', node, `++${operand}`)];
  return [edit('removed operator', node, operand)];
}

function conditions(condition: ts.Expression, values: readonly string[], edit: MakeEdit): Edit[] {
  return values.map((value) => edit('condition', condition, value));
}

function results(result: ts.Expression, edit: MakeEdit): Edit[] {
  return RESULTS.map((other) => edit('result', result, other));
}

function number(node: ts.NumericLiteral | ts.BigIntLiteral, edit: MakeEdit, sourceOf: SourceOf): Edit[] {
  const text = sourceOf(node);
  return [
    edit('number', node, `(${text} + ${bigOne(text)})`),
    edit('number', node, `(${text} - ${bigOne(text)})`),
  ];
}

function bigOne(text: string): string {
  return text.endsWith('n') ? '1n' : '1';
}

function call(node: ts.CallExpression, edit: MakeEdit, sourceOf: SourceOf): Edit[] {
  const edits: Edit[] = [];
  const { expression } = node;
  if (node.questionDotToken) edits.push(edit('optional chaining', node.questionDotToken, '!'));
  if (ts.isPropertyAccessExpression(expression)) {
    const name = sourceOf(expression.name);
    const opposite = Object.hasOwn(OPPOSITES, name) ? OPPOSITES[name] : undefined;
    if (opposite) edits.push(edit('opposite method', expression.name, opposite));
    if (REMOVABLE.has(name)) edits.push(edit('removed method', node, sourceOf(expression.expression)));
  }
  return edits;
}

/** Removes an item from a list, with the comma after it. */
function removal(operator: string, item: ts.Node, list: ts.NodeArray<ts.Node>, source: ts.SourceFile): Edit {
  const next = list[list.indexOf(item) + 1];
  const comma = /^\s*,/.exec(source.text.slice(item.end))?.[0].length ?? 0;
  const end = next ? next.getStart(source) : item.end + comma;
  return { operator, start: item.getStart(source), end, text: '' };
}
