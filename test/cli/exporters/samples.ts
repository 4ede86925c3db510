/** Reads the text format of Prometheus, version 0.0.4, strictly. */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`);
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\["\\n])*)"(?:,|$)/gy;
const COMMENT = new RegExp(`^# (?:HELP ${NAME} .+|TYPE ${NAME} (?:counter|gauge|histogram))$`);

/** The samples of a text. Throws on any line that is not valid, and on duplicates. */
export function samplesIn(text: string): Sample[] {
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  const samples: Sample[] = [];
  const seen = new Set<string>();
  for (const line of text.split('\n')) {
    if (line === '' || COMMENT.test(line)) continue;
    const sample = sampleOf(line);
    const identity = JSON.stringify([sample.name, ...Object.entries(sample.labels).sort()]);
    if (seen.has(identity)) throw new Error(`twice: ${line}`);
    seen.add(identity);
    samples.push(sample);
  }
  return samples;
}

function sampleOf(line: string): Sample {
  const [, name = '', list = '', number = ''] = SAMPLE.exec(line) ?? [];
  const value = number === '+Inf' ? Number.POSITIVE_INFINITY : Number(number);
  const labels: Record<string, string> = {};
  let end = 0;
  for (const [whole, label = '', quoted = ''] of list.matchAll(LABEL)) {
    labels[label] = quoted.replace(/\\(.)/g, (_, each) => (each === 'n' ? '\n' : each));
    end += whole.length;
  }
  if (name === '' || Number.isNaN(value) || end !== list.length) throw new Error(`not a sample: ${line}`);
  return { name, labels, value };
}
