/**
 * The document of a report: one file without references to others. Its parts:
 *
 *   - the summary, the losses and the facts of the run as HTML, also for readers without a script
 *   - the data as JSON, which the script (page/) turns into charts and tables with `textContent`
 *   - a Content-Security-Policy that allows only this style and this script, by their hashes
 *
 * Names in the document come from other machines and processes. Here `html` escapes every value, and in the
 * JSON `<` is an escape, so a name cannot end the element.
 */
import { createHash } from 'node:crypto';
import { printable } from '../../asm/printable.ts';
import { jsonText } from '../text.ts';
import { IDS, type ReportData, type Totals } from './data.ts';
import {
  counted,
  dateTime,
  digits,
  durationText,
  endOfRange,
  grouped,
  latencyText,
  percent,
} from './format.ts';

/** The script and the style of the page, as the build bundles them. */
export interface PageAssets {
  readonly script: string;
  readonly style: string;
  /** The license of the chart library. */
  readonly license: string;
}

/** What the report says about its run, besides its connects. */
export interface Facts {
  /** The machine whose connects these are. */
  readonly host: string;
  /** When the run began and ended, in ms since the epoch. */
  readonly startMs: number;
  readonly endMs: number;
  /** Why connects are missing: events that were lost, by cause. */
  readonly losses: readonly (readonly [count: number, text: string])[];
  /** What else the report does not contain, in sentences. */
  readonly notes: readonly string[];
  /** How the connects were recorded. */
  readonly recorded: readonly (readonly [name: string, value: string])[];
}

/** A document, or a part of one. */
class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Value = string | number | Html | readonly Html[];

/** Makes HTML of a template. Values that are not HTML are escaped, and unprintable characters are shown. */
function html(texts: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(texts.reduce((text, part, i) => text + textOf(values[i - 1] ?? '') + part));
}

function textOf(value: Value): string {
  if (value instanceof Html) return value.text;
  if (typeof value === 'object') return value.map(({ text }) => text).join('');
  return printable(String(value)).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** The document. */
export function reportPage(data: ReportData, totals: Totals, facts: Facts, assets: PageAssets): string {
  const { host, startMs, endMs } = facts;
  const range = `${dateTime(startMs)} – ${endOfRange(startMs, endMs)} UTC`;
  const nothing = totals.connects === 0;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${new Html(policy(assets))}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>TCP connects of ${host}, ${range}</title>
<style>${new Html(assets.style)}</style>
</head>
<body>
<a class="skip" href="#destinations-heading">Skip to the destinations</a>
<header>
<h1>TCP connects of <bdi>${host}</bdi></h1>
<p class="muted">${range} (${durationText(endMs - startMs)})</p>
</header>
<main>
<section aria-labelledby="summary-heading">
<h2 id="summary-heading">Summary</h2>
<p class="lede">${sentence(data, totals, facts)}</p>
${lossWarning(facts)}
${nothing ? '' : cards(totals)}
</section>
<noscript><p class="warning">The charts and tables of this report need JavaScript, which is off. It is part of this file, and loads nothing.</p></noscript>
${nothing ? '' : new Html(SECTIONS)}
<section aria-labelledby="missing-heading">
<h2 id="missing-heading">What is missing</h2>
${missing(facts)}
</section>
<section aria-labelledby="recorded-heading">
<h2 id="recorded-heading">How it was recorded</h2>
<dl class="facts">${facts.recorded.map(([name, value]) => html`<dt>${name}</dt><dd><bdi>${value}</bdi></dd>`)}</dl>
</section>
</main>
<footer>
<details><summary>License of the charts</summary><pre>${assets.license.split('\n').map(
    (line) => html`${line}
`,
  )}</pre></details>
</footer>
<script type="application/json" id="${IDS.data}">${new Html(scriptJson(data))}</script>
<script>${new Html(assets.script)}</script>
</body>
</html>
`;
  return page.text;
}

/** JSON that does not end its element. */
function scriptJson(value: unknown): string {
  return jsonText(value).replaceAll('<', '\\u003c');
}

/** Allows the script and the style of this file, and no connection. */
function policy({ script, style }: PageAssets): string {
  return [
    "default-src 'none'",
    `script-src '${hashOf(script)}'`,
    `style-src '${hashOf(style)}'`,
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
  ].join('; ');
}

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}

function sentence(data: ReportData, totals: Totals, { startMs, endMs }: Facts): string {
  const { connects, answered, results, p50, p99, max } = totals;
  if (connects === 0) return `No connects in ${durationText(endMs - startMs)}.`;
  const destinations = `${data.otherDestinations ? 'more than ' : ''}${counted(data.destinations.length, 'destination')}`;
  const begin = `${counted(connects, 'connect')} in ${durationText(endMs - startMs)} to ${destinations}.`;
  const parts = results.map(
    ([result, count]) => `${grouped(count)} ${result} (${percent(count / connects)})`,
  );
  const outcomes = `${parts.slice(0, 4).join(', ')}${parts.length > 4 ? ', and others' : ''}.`;
  const latency =
    answered === 0 || p50 === null || p99 === null || max === null
      ? 'No connect was answered.'
      : `Half of the answered connects took up to ${latencyText(p50)}, 99 % up to ${latencyText(p99)}, and the slowest ${latencyText(max)}.`;
  return `${begin} ${outcomes} ${latency}`;
}

function lossWarning({ losses }: Facts): Html {
  const lost = losses.reduce((sum, [count]) => sum + count, 0);
  if (lost === 0) return html``;
  return html`<p class="warning"><strong>Incomplete:</strong> ${losses.map(([count, text], i) => html`${i > 0 ? '; ' : ''}${grouped(count)} ${text}`)}.</p>`;
}

function cards({ connects, answered, results, retransmits, ...latency }: Totals): Html {
  const established = results.find(([result]) => result === 'established' || result === 'answered')?.[1] ?? 0;
  const failed = connects - established;
  const card = (name: string, value: string, detail: string, kind = '') =>
    html`<div class="card ${kind}"><dt>${name}</dt><dd>${value}<small>${detail}</small></dd></div>`;
  const time = (ms: number | null) => (ms === null ? '–' : latencyText(ms));
  return html`<dl class="cards">
${card('Connects', grouped(connects), `${grouped(answered)} answered`)}
${card('Not established', grouped(failed), percent(failed / connects), failed > 0 ? 'bad' : '')}
${card('p50', time(latency.p50), 'of answered')}
${card('p90', time(latency.p90), 'of answered')}
${card('p99', time(latency.p99), 'of answered')}
${card('Maximum', time(latency.max), 'of answered')}
${card('Retransmissions', grouped(retransmits), `${digits(retransmits / connects)} a connect`)}
</dl>`;
}

function missing({ losses, notes }: Facts): Html {
  const lines = [
    ...losses.map(([count, text]) => html`<li class="loss">${grouped(count)} ${text}</li>`),
    ...notes.map((note) => html`<li>${note}</li>`),
  ];
  return lines.length > 0
    ? html`<ul>${lines}</ul>`
    : html`<p>No event was lost, and no connect was left out.</p>`;
}

/** The sections that the script fills. */
const SECTIONS = `<section aria-labelledby="time-heading">
<h2 id="time-heading">Latency over time</h2>
<div id="${IDS.charts}"></div>
</section>
<section aria-labelledby="destinations-heading">
<h2 id="destinations-heading">Destinations</h2>
<div id="${IDS.destinations}"></div>
</section>
<section aria-labelledby="slowest-heading">
<h2 id="slowest-heading">Slowest connects</h2>
<div id="${IDS.slowest}"></div>
</section>
<section aria-labelledby="failed-heading">
<h2 id="failed-heading">Connects that were not established</h2>
<div id="${IDS.failed}"></div>
</section>`;
