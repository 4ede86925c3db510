/** The page of a report in a browser: charts, tables, keyboard, accessibility, and hostile names. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { slowness, suite } from '../../harness.ts';
import { Browser, noBrowser, type Page } from './browser.ts';
import { type Load, writeRecording } from './synthetic.ts';

const test = suite('cli/report/page', { seconds: 30 });

const COMMAND = fileURLToPath(new URL('../../../../dist/tcpconnlat.cjs', import.meta.url));
const LOAD: Load = { connects: 6000, destinations: 60, seconds: 600 };

let folder = '';
let browser: Browser;
let report = '';

test.before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tsbpf-page-'));
  if (noBrowser) return;
  report = reportOf('report', LOAD);
  browser = await Browser.open();
});
test.after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

/** Makes the report of a recording with this load. */
function reportOf(name: string, load: Load, ...options: string[]): string {
  const [recording, html] = [join(folder, `${name}.jsonl`), join(folder, `${name}.html`)];
  writeRecording(recording, load);
  const { status, stderr } = spawnSync(
    process.execPath,
    [COMMAND, '--replay', recording, '--report', html, '-q', ...options],
    { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8', timeout: 20_000 * slowness },
  );
  assert.equal([status, stderr], [0, '']);
  return html;
}

/** Runs `work` with a page that shows a report, and checks that it had no problem and loaded nothing. */
async function withPage(
  file: string,
  work: (page: Page) => Promise<void>,
  prepare?: (page: Page) => Promise<void>,
) {
  const page = await browser.page();
  try {
    await prepare?.(page);
    await page.open(file);
    await page.complete();
    await work(page);
    assert.equal(page.problems, []);
    assert.equal(page.requests, [`file://${file}`]);
  } finally {
    await page.close();
  }
}

/** The texts of a column of a table, by its number. */
const columnOf = (page: Page, id: string, column: number) =>
  page.evaluate<string[]>(
    `Array.from(document.querySelectorAll('#${id} tbody tr'), (row) => row.cells[${column}].textContent)`,
  );
const numberIn = (text: string) => Number(text.replaceAll(',', ''));

test.skipIf(noBrowser, 'the page has charts and tables, without errors and requests', async () => {
  await withPage(report, async (page) => {
    const counts = await page.evaluate<number[]>(
      `['.uplot', '#destinations tbody tr', '#slowest tbody tr', '#failed tbody tr']
        .map((selector) => document.querySelectorAll(selector).length)`,
    );
    assert.equal(counts, [4, 25, 25, 25]);
    const status = await page.evaluate<string>(
      `document.querySelector('#destinations [role=status]').textContent`,
    );
    assert.is(status, '25 of 60 destinations, by Connects, descending');
  });
});

test.skipIf(noBrowser, 'the canvas of the heat map has the colors of few and many connects', async () => {
  await withPage(report, async (page) => {
    const colors = await page.evaluate<string[]>(`(() => {
      const canvas = document.querySelector('.uplot canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const colors = new Set();
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) colors.add(data.slice(i, i + 3).join());
      return [...colors];
    })()`);
    for (const color of ['185,213,236', '8,51,112']) assert.ok(colors.includes(color), color);
  });
});

test.skipIf(noBrowser, 'a table is sorted by click and by keyboard, and says so', async () => {
  await withPage(report, async (page) => {
    const focus = (title: string) =>
      page.evaluate(`Array.from(document.querySelectorAll('#destinations thead button'))
        .find((button) => button.firstChild.textContent === ${JSON.stringify(title)}).focus()`);
    const sorted = () =>
      page.evaluate<string[]>(`Array.from(document.querySelectorAll('#destinations [aria-sort]'),
        (header) => header.firstChild.firstChild.textContent + ' ' + header.getAttribute('aria-sort'))`);
    assert.equal(await sorted(), ['Connects descending']);
    const descending = (numbers: readonly number[]) => [...numbers].sort((a, b) => b - a);
    const connects = (await columnOf(page, 'destinations', 1)).map(numberIn);
    assert.equal(connects, descending(connects));

    await focus('p99 (ms)');
    await page.press('Enter');
    assert.equal(await sorted(), ['p99 (ms) descending']);
    const p99 = (await columnOf(page, 'destinations', 8)).map(numberIn);
    assert.equal(p99, descending(p99));
    assert.ok((p99[0] ?? 0) > (p99.at(-1) ?? 0));

    await page.press(' ');
    assert.equal(await sorted(), ['p99 (ms) ascending']);
    const rising = (await columnOf(page, 'destinations', 8)).map(numberIn);
    assert.equal(rising, descending(rising).reverse());
    assert.ok((rising[0] ?? 0) < (p99[0] ?? 0));

    await page.evaluate(`document.querySelector('#destinations thead button').click()`);
    assert.equal(await sorted(), ['Destination ascending']);
    const names = await columnOf(page, 'destinations', 0);
    assert.equal(names, [...names].sort());
    assert.match(
      await page.evaluate(`document.querySelector('#destinations [role=status]').textContent`),
      /by Destination, ascending$/,
    );
  });
});

test.skipIf(noBrowser, 'more rows come on request, and a filter finds rows that are not shown', async () => {
  await withPage(report, async (page) => {
    await page.evaluate(`document.querySelector('#destinations .below button').click()`);
    assert.is((await columnOf(page, 'destinations', 0)).length, 60);
    await page.evaluate(`(() => {
      const filter = document.querySelector('#destinations input');
      filter.value = 'refused';
      filter.dispatchEvent(new Event('input'));
    })()`);
    const [name = '', ...others] = await columnOf(page, 'destinations', 0);
    assert.equal([name, others.length], ['10.1.0.1:5432', 0]);
  });
});

test.skipIf(noBrowser, 'the arrow keys move the slider through the time slots', async () => {
  await withPage(report, async (page) => {
    const text = () =>
      page.evaluate<string>(`document.querySelector('input[type=range]').getAttribute('aria-valuetext')`);
    await page.evaluate(`document.querySelector('input[type=range]').focus()`);
    await page.press('Home');
    assert.match(await text(), /^2026-11-28 22:40:00 – 22:40:10 UTC: 100 connects \(/);
    await page.press('ArrowRight');
    assert.match(await text(), /^2026-11-28 22:40:10 – 22:40:20 UTC: 100 connects \(.*; p50 .*, max /);
    assert.is(await page.evaluate(`document.querySelector('.readout').textContent`), await text());
  });
});

test.skipIf(noBrowser, 'zooming in and back is possible by keyboard', async () => {
  await withPage(report, async (page) => {
    const press = async (name: string) => {
      await page.evaluate(`Array.from(document.querySelectorAll('.buttons button'))
        .find((button) => button.textContent === '${name}').focus()`);
      await page.press('Enter');
      return page.evaluate<boolean>(`document.querySelector('.buttons button:last-child').disabled`);
    };
    assert.is(await press('Zoom in'), false);
    assert.is(await press('Zoom out'), true);
    await press('Zoom in');
    assert.is(await press('Whole time'), true);
  });
});

test.skipIf(noBrowser, 'the numbers of the charts are also in a table', async () => {
  await withPage(report, async (page) => {
    await page.evaluate(`document.querySelector('#charts details summary').click()`);
    await page.evaluate('new Promise(requestAnimationFrame)');
    const rows = await page.evaluate<string[][]>(
      `Array.from(document.querySelectorAll('#charts tbody tr'), (row) => Array.from(row.cells, (cell) => cell.textContent))`,
    );
    const total = rows.reduce((sum, cells) => sum + numberIn(cells[1] ?? '') + numberIn(cells[2] ?? ''), 0);
    assert.is(total, LOAD.connects);
  });
});

test.skipIf(noBrowser, 'everything that has a role has a name', async () => {
  await withPage(report, async (page) => {
    const nodes = await page.accessibleNodes();
    const NAMED = [
      'button',
      'slider',
      'searchbox',
      'region',
      'image',
      'heading',
      'columnheader',
      'link',
      'table',
    ];
    for (const { role, name } of nodes)
      if (NAMED.includes(role)) assert.ok(name !== '', `${role} without a name`);
    const names = (role: string) => nodes.filter((node) => node.role === role).map(({ name }) => name);
    assert.equal(names('image'), [
      'Heat map of latencies',
      'Percentiles of the latency',
      'Connects per 10 s',
      'Not established per 10 s',
    ]);
    assert.equal(names('slider'), ['Time slot']);
    assert.equal(names('searchbox'), ['Filter']);
    // The tree lists nodes by their depth.
    assert.equal(names('heading'), [
      'TCP connects of web-3',
      'Summary',
      'Latency over time',
      'Destinations',
      'Slowest connects',
      'Connects that were not established',
      'What is missing',
      'How it was recorded',
      ...names('image'),
    ]);
    assert.ok(names('button').includes('p99 (ms)'));
    assert.ok(names('rowheader').includes('10.1.0.1:5432'));
    assert.ok(nodes.some(({ role }) => role === 'main'));
  });
});

/** The background of the page and the first color of the text in a chart. */
const COLORS = 'getComputedStyle(document.body).backgroundColor';

test.skipIf(noBrowser, 'dark mode follows the browser, and print is light', async () => {
  const media = (page: Page, type: string, scheme: string) =>
    page.send('Emulation.setEmulatedMedia', {
      media: type,
      features: [{ name: 'prefers-color-scheme', value: scheme }],
    });
  await withPage(
    report,
    async (page) => {
      assert.is(await page.evaluate(COLORS), 'rgb(15, 20, 25)');
      await media(page, 'print', 'dark');
      assert.is(await page.evaluate(COLORS), 'rgb(255, 255, 255)');
      assert.is(await page.evaluate(`getComputedStyle(document.querySelector('.controls')).display`), 'none');
      await media(page, '', 'light');
      assert.is(await page.evaluate(COLORS), 'rgb(255, 255, 255)');
      assert.is(
        await page.evaluate(`document.querySelectorAll('.uplot').length`),
        4,
        'charts are drawn again',
      );
    },
    async (page) => {
      await media(page, '', 'dark');
    },
  );
});

test.skipIf(noBrowser, 'a narrow page does not scroll sideways', async () => {
  await withPage(
    report,
    async (page) => {
      const [content, window] = await page.evaluate<number[]>(
        '[document.documentElement.scrollWidth, innerWidth]',
      );
      assert.ok((content ?? 0) <= (window ?? 0), `${content} > ${window}`);
    },
    async (page) => {
      const size = { width: 360, height: 800, deviceScaleFactor: 2, mobile: false };
      await page.send('Emulation.setDeviceMetricsOverride', size);
    },
  );
});

test.skipIf(noBrowser, 'hostile names are shown as text, and run nothing', async () => {
  const names = [
    '</script><img src=x onerror=document.title=1>',
    '<b>bold</b>',
    '"><svg/onload=0>',
    '\u202eevil\u2066',
  ];
  const file = reportOf('hostile', { connects: 50, destinations: 5, seconds: 10, names });
  await withPage(file, async (page) => {
    const executables = new Set(await columnOf(page, 'slowest', 10));
    assert.equal([...executables].sort(), [...names.slice(0, 3), '\\u202eevil\\u2066'].sort());
    assert.ok((await columnOf(page, 'slowest', 7)).includes('</script><img s'));
    assert.is(await page.evaluate(`document.querySelectorAll('img, svg, b, iframe').length`), 0);
    assert.match(await page.evaluate('document.title'), /^TCP connects of web-3/);
  });
});

test.skipIf(noBrowser, 'the policy stops a script and a request that were put into the page', async () => {
  const file = join(folder, 'injected.html');
  const injected = '<script>window.injected = true</script><img src="http://127.0.0.1:9/x">';
  writeFileSync(file, readFileSync(report, 'utf8').replace('<main>', `<main>${injected}`));
  const page = await browser.page();
  await page.open(file);
  assert.is(await page.evaluate('window.injected'), undefined);
  const blocked = page.problems.filter((problem) => problem.includes('Content Security Policy'));
  assert.is(blocked.length, 2, page.problems.join('\n'));
  await page.close();
});

test.skipIf(noBrowser, 'a report without connects and one without failures open', async () => {
  const recording = join(folder, 'report.jsonl');
  for (const [name, options, found] of [
    ['none', ['--port', '1'], /No connects in/],
    ['one', ['--port', '443', '-n', '1'], /Every connect was established/],
  ] as const) {
    const html = join(folder, `${name}.html`);
    const args = ['--replay', recording, '--report', html, '-q', ...options];
    const { status } = spawnSync(process.execPath, [COMMAND, ...args], { stdio: 'ignore' });
    assert.is(status, 0);
    await withPage(html, async (page) => {
      assert.match(await page.evaluate('document.body.innerText'), found);
    });
  }
});

test.run();
