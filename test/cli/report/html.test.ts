/** The document of a report: its policy, and names that try to leave their place. */
import { createHash } from 'node:crypto';
import * as assert from 'uvu/assert';
import { Collector } from '../../../src/cli/report/collector.ts';
import { type Facts, type PageAssets, reportPage } from '../../../src/cli/report/html.ts';
import { suite } from '../../harness.ts';
import { assertSafe, HOSTILE } from '../../hostile.ts';

const test = suite('cli/report/html');

const ASSETS: PageAssets = {
  script: 'console.log("the script")',
  style: 'body { color: red }',
  license: 'A license\n\n<of> two & more paragraphs',
};
const START = Date.UTC(2026, 10, 29, 12);
const FACTS: Facts = {
  ...{ host: 'vm', startMs: START, endMs: START + 90_000, losses: [], notes: [] },
  recorded: [['Host', 'vm']],
};
/** Names that would end an element, an attribute or a string. */
const BREAKOUTS = [
  '</script><img src=x onerror=alert(1)>',
  '<!--<script>',
  '"><svg onload=alert(1)>',
  "'+alert(1)+'",
  '`+alert(1)+`',
  '&lt;script&gt;',
  HOSTILE,
];

/** The document of a report with a connect of a thread with this name. */
function page(comm = 'curl', facts: Partial<Facts> = {}): string {
  const collector = new Collector();
  collector.include(START);
  collector.addRecord(
    {
      ...{ time_s: 0, pid: 7, comm, exe: comm, ip: 4, saddr: '10.0.0.7', lport: 50_000 },
      ...{ daddr: '192.0.2.1', dport: 443, lat_ms: 1.25, result: 'refused', retransmits: 0 },
    },
    START + 100,
  );
  return reportPage(collector.data(), collector.totals(), { ...FACTS, ...facts }, ASSETS);
}

const hash = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
/** The document without what differs by name: texts between tags, and the data. */
const tagsOf = (text: string) => text.match(/<[a-z!/][^>]*>/gi);

test('the policy allows the script and the style by hash, and nothing else', () => {
  const [, policy = ''] = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page()) ?? [];
  assert.equal(policy.split('; '), [
    "default-src 'none'",
    `script-src ${hash(ASSETS.script)}`,
    `style-src ${hash(ASSETS.style)}`,
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
  ]);
  assert.not.match(policy, /unsafe|https?:|\*/);
});

test('the document refers to no other file', () => {
  assert.not.match(page(), /\b(?:src|srcset|action|data|poster)=|\bhref="(?!#)|url\(|@import|https?:\/\//);
});

for (const name of BREAKOUTS)
  test(`a hostile name changes no tag: ${JSON.stringify(name).slice(0, 40)}`, () => {
    const facts = {
      ...{ host: name, notes: [name], losses: [[3, name]] as const },
      recorded: [[name, name]] as const,
    };
    const plain = {
      ...{ host: 'x', notes: ['x'], losses: [[3, 'x']] as const },
      recorded: [['x', 'x']] as const,
    };
    const text = page(name, facts);
    assert.equal(tagsOf(text), tagsOf(page('x', plain)));
    assertSafe(text, 'the document');
    const [, json = ''] = /<script type="application\/json" id="data">([^<]*)<\/script>/.exec(text) ?? [];
    assert.is(JSON.parse(json).slowest.length, 1);
  });

test('the summary is readable without a script', () => {
  const text = page().replaceAll('\u00a0', ' ');
  assert.match(text, /<h1>TCP connects of <bdi>vm<\/bdi><\/h1>/);
  assert.match(text, /2026-11-29 12:00:00 – 12:01:30 UTC \(1 min 30 s\)/);
  assert.match(
    text,
    /1 connect in 1 min 30 s to 1 destination\. 1 refused \(100 %\)\. Half .* up to 1\.25 ms/,
  );
  assert.match(text, /<noscript>/);
});

test('losses are at the top and in a section of their own', () => {
  const text = page('curl', {
    losses: [[1234, 'events lost (ring buffer full)']],
    notes: ['Something else.'],
  });
  assert.match(
    text,
    /class="warning"><strong>Incomplete:<\/strong> 1,234 events lost \(ring buffer full\)\.</,
  );
  assert.match(
    text,
    /<li class="loss">1,234 events lost \(ring buffer full\)<\/li><li>Something else\.<\/li>/,
  );
  assert.match(page(), /No event was lost, and no connect was left out/);
  assert.not.match(page(), /Incomplete/);
});

test('a report without connects says so, and has no charts', () => {
  const collector = new Collector();
  collector.include(START);
  const text = reportPage(collector.data(), collector.totals(), FACTS, ASSETS);
  assert.match(text, /No connects in 1 min 30 s\./);
  assert.not.match(text, /Heat map|id="charts"|id="destinations"/);
  assert.match(text, /How it was recorded/);
});

test('the license keeps its lines', () => {
  assert.match(page(), /<pre>A license\n\n&#60;of&#62; two &#38; more paragraphs\n<\/pre>/);
});

test.run();
