// Looks at the pages as people do: in a browser, wide and narrow, light and dark, without JavaScript.
// Reads one JSON object from stdin: { base, pages: {name: path}, token, held, shots }. Prints one line
// for each fault and ends with 1 if there is any. tests/it/program/browser.rs runs it; node_modules lies in the
// folder that BROWSER_TOOLS names.
import { createRequire } from 'node:module';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const require = createRequire(join(process.env.BROWSER_TOOLS, 'package.json'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const asked = JSON.parse(readFileSync(0, 'utf8'));
mkdirSync(asked.shots, { recursive: true });

const faults = [];
const fault = (where, what) => faults.push(`${where}: ${what}`);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic'],
});

const views = [
  { name: 'wide', viewport: { width: 1100, height: 900 }, colorScheme: 'light' },
  { name: 'dark', viewport: { width: 1100, height: 900 }, colorScheme: 'dark' },
  { name: 'phone', viewport: { width: 390, height: 844 }, colorScheme: 'light', isMobile: true, hasTouch: true },
];

// Every page in every view: nothing fails, nothing overflows, axe has no serious complaint.
const seen = async ({ name, ...options }) => {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  let where = name;
  page.on('console', (said) => said.type() === 'error' && fault(where, `console: ${said.text()}`));
  page.on('pageerror', (error) => fault(where, `script: ${error}`));
  page.on('request', (one) => one.url().startsWith(asked.base) || fault(where, `asks for ${one.url()}`));
  for (const [title, path] of Object.entries(asked.pages)) {
    where = `${title}, ${name}`;
    const answer = await page.goto(asked.base + path);
    if (answer.status() !== 200) fault(where, `status ${answer.status()}`);
    await page.screenshot({ path: join(asked.shots, `${title}-${name}.png`), fullPage: true });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) fault(where, `${wide} pixels wider than the window`);
    if (await page.evaluate(() => globalThis.hacked !== undefined)) fault(where, 'a value ran as a script');
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ['violations'] }));
    for (const { id, impact, nodes } of violations)
      if (['serious', 'critical'].includes(impact)) fault(where, `axe ${id} (${impact}): ${nodes[0].html}`);
  }
  await context.close();
};
await Promise.all(views.map(seen));

// The way of an operator, without JavaScript: calendar, day, approval; a wrong token changes nothing.
const context = await browser.newContext({ javaScriptEnabled: false, viewport: views[0].viewport });
const page = await context.newPage();
await page.goto(`${asked.base}/`);
await page.locator('.days a.held').first().click();
await page.waitForURL(`**${asked.held}`);
const send = async (token) => {
  await page.locator('input[name=reason]').fill('read and right');
  await page.locator('input[name=token]').fill(token);
  await page.locator('button[type=submit]').click();
};
await send('not the token');
await page.locator('[role=alert]').waitFor();
await send(asked.token);
const note = page.locator('p.note', { hasText: 'Approved' });
await note.waitFor();
await page.screenshot({ path: join(asked.shots, 'approved.png'), fullPage: true });

await context.close();

// By keyboard alone: the first stop skips to the content, and a day's numbers are shown on focus.
const typist = await browser.newPage({ viewport: views[0].viewport });
await typist.goto(`${asked.base}/`);
await typist.keyboard.press('Tab');
if ((await typist.locator('a.skip:focus').count()) !== 1) fault('keyboard', 'the first stop is no skip link');
const cell = typist.locator('.days a').first();
await cell.focus();
const shown = await cell.evaluate((one) => getComputedStyle(one, '::after').content);
if (!/\d/.test(shown)) fault('keyboard', `a focused day shows ${shown}`);

await browser.close();
for (const line of faults) console.log(line);
process.exit(faults.length ? 1 : 0);
