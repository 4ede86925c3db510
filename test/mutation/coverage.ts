/** The code that a test file ran, from V8's coverage report (NODE_V8_COVERAGE). */
import { decode } from '@jridgewell/sourcemap-codec';

/** V8's report: functions with nested ranges. The innermost range around a character decides. */
export interface CoverageReport {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly { readonly ranges: readonly Range[] }[];
  }[];
}

interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

/** Whether a character of a script ran, according to a report. A script that was not loaded did not run. */
export function ran(report: CoverageReport, file: string, offset: number): boolean {
  const script = report.result.find((each) => each.url === file);
  let innermost: Range | undefined;
  for (const range of script?.functions.flatMap(({ ranges }) => ranges) ?? []) {
    const isAround = range.startOffset <= offset && offset < range.endOffset;
    if (isAround && (!innermost || sizeOf(range) <= sizeOf(innermost))) innermost = range;
  }
  return innermost !== undefined && innermost.count > 0;
}

function sizeOf({ startOffset, endOffset }: Range): number {
  return endOffset - startOffset;
}

/** Compiled code with its source map. */
export interface Compiled {
  readonly code: string;
  /** The `mappings` of the source map, which has one source. */
  readonly mappings: string;
}

/** The closest mapped characters of the compiled code, before and after a position of the source. */
export function compiledAround(source: string, position: number, { code, mappings }: Compiled): number[] {
  const starts = lineStarts(code);
  const sourceStarts = lineStarts(source);
  let before: { source: number; compiled: number } | undefined;
  let behind: { source: number; compiled: number } | undefined;
  for (const [line, segments] of decode(mappings).entries()) {
    for (const [column, , sourceLine, sourceColumn] of segments) {
      if (sourceLine === undefined || sourceColumn === undefined) continue;
      const at = {
        source: (sourceStarts[sourceLine] ?? 0) + sourceColumn,
        compiled: (starts[line] ?? 0) + column,
      };
      if (at.source <= position && (!before || at.source > before.source)) before = at;
      if (at.source >= position && (!behind || at.source < behind.source)) behind = at;
    }
  }
  // esbuild counts the whitespace before a token as a part of it, and V8 does not.
  return [before, behind].flatMap((each) => (each ? [each.compiled + blanksAt(code, each.compiled)] : []));
}

function blanksAt(code: string, offset: number): number {
  return code.slice(offset).search(/\S|$/);
}

function lineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}
