// Hearthside collector: an ES module without dependencies, served by the agent on the page's own origin.
//
// Nothing is read or stored before consent: the first thing it does is to ask the agent, and without a yes it stops
// there. It reads declared attributes only (an allow-list), never a form's value. If the agent is slow or absent, the
// page stays as it is.
//
// Nothing is handed over under an old yes: before each batch the agent is asked again whether the consent still stands,
// unless it said so within the last half second. A no, another consent or another person ends collecting on this view
// and drops what was queued. So a tab needs no open connection and no steady polling to hear of a withdrawal: while
// nothing happens in it, nothing is queued either. Whether all is as it was the agent says, to whoever shows the token
// that it gave last; tokens are new each time, and this script has nothing else to tell people apart by.
//
//   <body data-hs-category="sneakers" data-hs-product="sneakers-7" data-hs-price="89.00">
//   <a data-hs-click="teaser" ...>                         a click worth counting
//   <button data-hs-event="add_to_cart" ...>               also remove_from_cart; on a form it counts at submit
//   <div data-hs-load="purchase">                          counted when the page is shown
//   <section data-hs-slot="hero">default content</section> may be replaced by a module
//   <div data-hs-notice hidden></div>                      where the question is put, if it has not been answered
//   <a data-hs-choices hidden>Your data and choices</a>    the way to the visitor's own page, on every page
//   <span data-hs-plain hidden></span>                     the way to this page's non-personalised twin, and back
//
// The twin of a page is its own address with the fragment #hearthside-plain: browsers send no fragment to anyone.

import { Queue } from './queue.js';
import { language, replace, restore, twin, words } from './twin.js';

const DOOR = '/.hearthside';
const DECIDE_MS = 300;
const FLUSH_MS = 500;
const FRESH_MS = 500;
const BATCH = 100;
const BATCH_CHARACTERS = 60000; // browsers let a page that goes away send 64 KiB
const KINDS_ON_CLICK = new Set(['add_to_cart', 'remove_from_cart']);
const TOKEN = /^[A-Za-z0-9_.:-]{1,64}$/;

let agent = null; // the notice, once consent is known
let heardAt = -Infinity; // when the agent last said so
let session = null;
let queue = null;
let timer = 0;
let leaving = false;

const hex = (bytes) => [...crypto.getRandomValues(new Uint8Array(bytes))].map((b) => b.toString(16).padStart(2, '0')).join('');

// --- what a page declares ---

function declared(element) {
  const found = {};
  for (let node = element; node; node = node.parentElement) {
    const { hsCategory, hsProduct, hsPrice } = node.dataset || {};
    if (hsCategory && !found.category) found.category = hsCategory.slice(0, 64);
    if (hsProduct && !found.product && TOKEN.test(hsProduct)) found.product = hsProduct;
    const price = Number(hsPrice);
    if (hsPrice && found.price === undefined && Number.isFinite(price) && price >= 0) found.price = price;
  }
  return found;
}

export function track(kind, details = {}) {
  if (twin.shown || !agent || !queue || !agent.collect.includes(kind)) return;
  const event = {
    version: 1,
    event_id: crypto.randomUUID ? crypto.randomUUID() : hex(16),
    kind,
    at_ms: Date.now(),
    site: location.host.toLowerCase(),
    session,
    path: location.pathname.slice(0, 1024),
    ...declared(document.body),
    ...details,
  };
  queue.put(event);
  if (!timer) timer = setTimeout(flush, FLUSH_MS);
}

// --- handing over ---

/** What the agent says now, and whether all is as it was when it gave this token; null where it is away. */
async function inquire(former) {
  const headers = { Accept: 'application/json', ...(former ? { 'X-Hearthside-Token': former } : {}) };
  try {
    const answer = await fetch(`${DOOR}/notice?lang=${encodeURIComponent(language())}`, { headers });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

const fresh = () => performance.now() - heardAt <= FRESH_MS;

/** Whether the consent under which this view collects stands; ends collecting where it does not. */
async function stands() {
  if (!agent || fresh()) return agent !== null;
  const asked = performance.now();
  const notice = await inquire(agent.token);
  if (!agent || !notice) return false; // away: what is queued waits
  if (notice.version !== 1 || !notice.collect.length || !notice.same) {
    await reset();
    return false;
  }
  agent = notice;
  delete agent.key; // the queue has one
  heardAt = asked;
  return true;
}

const headers = ({ token }) => ({ 'Content-Type': 'application/json', 'X-Hearthside-Token': token });

/** As much as one request may carry: names in the queue, and what they stand for. */
function batchOf(queued) {
  let size = 2;
  const fitting = queued.slice(0, BATCH).filter(([, item]) => (size += JSON.stringify(item.body).length + 1) <= BATCH_CHARACTERS);
  return [fitting.map(([name]) => name), JSON.stringify(fitting.map(([, item]) => item.body))];
}

async function flush() {
  clearTimeout(timer);
  timer = 0;
  if (!agent || !queue || !queue.memory.size) return;
  if (await stands()) await handOver(...batchOf([...queue.memory]));
  if (agent && queue.memory.size && !timer) timer = setTimeout(flush, FLUSH_MS);
}

async function handOver(names, body) {
  try {
    const answer = await fetch(`${DOOR}/events`, { method: 'POST', headers: headers(agent), body, keepalive: document.visibilityState === 'hidden' });
    if (answer.status === 403) return await reset(); // consent was taken back
    if (answer.ok || answer.status === 400) await queue.remove(names);
    else heardAt = -Infinity; // such as a token that has become too old: the next batch asks for another
  } catch {
    // The agent is away: the events wait here, and the next page tries again.
  }
}

function settle() {
  dwell.stop();
  scroll.report();
}

function farewell() {
  settle();
  leaving = true;
  if (!agent || !queue || !queue.memory.size) return;
  queue.part();
  if (!fresh()) return; // there is no time to ask: what is queued waits for the next page, which asks first
  // A beacon is not acknowledged: the events stay queued all the same, and the agent drops those it has already.
  const [, batch] = batchOf([...queue.memory].reverse());
  const query = new URLSearchParams({ t: agent.token });
  navigator.sendBeacon(`${DOOR}/events?${query}`, new Blob([batch], { type: 'application/json' }));
}

export async function reset() {
  agent = null;
  clearTimeout(timer);
  if (queue) queue.close();
  queue = null;
  restore(); // what was chosen under the consent that ended
  await Queue.forget();
}

// --- visible dwell and scroll depth ---

const dwell = {
  since: null,
  start() {
    if (!twin.shown && document.visibilityState === 'visible' && this.since === null) this.since = performance.now();
  },
  stop() {
    if (this.since === null) return;
    const seconds = (performance.now() - this.since) / 1000;
    this.since = null;
    if (seconds >= 0.2) track('dwell', { dwell_seconds: Math.min(seconds, 14400) });
  },
};

const scroll = {
  deepest: 0,
  reported: 0,
  measure() {
    const height = document.documentElement.scrollHeight;
    this.deepest = Math.max(this.deepest, height ? Math.min(1, (scrollY + innerHeight) / height) : 1);
  },
  report() {
    if (this.deepest <= this.reported) return;
    this.reported = this.deepest;
    track('scroll', { scroll_depth: Math.round(this.deepest * 1000) / 1000 });
  },
};

// --- listening ---

function listen() {
  document.addEventListener('click', (press) => {
    const target = press.target instanceof Element ? press.target : null;
    const marked = target && target.closest('[data-hs-click]');
    if (marked) track('click', { ...declared(marked), ...(TOKEN.test(marked.dataset.hsClick) ? { name: marked.dataset.hsClick } : {}) });
    const doing = target && target.closest('[data-hs-event]:not(form)');
    if (doing && KINDS_ON_CLICK.has(doing.dataset.hsEvent)) track(doing.dataset.hsEvent, declared(doing));
  }, { capture: true, passive: true });
  document.addEventListener('submit', (sent) => {
    const kind = sent.target.dataset.hsEvent;
    if (KINDS_ON_CLICK.has(kind)) track(kind, declared(sent.target));
  }, { capture: true, passive: true });
  addEventListener('scroll', () => scroll.measure(), { passive: true });
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') return returned();
    settle();
    if (!leaving) flush();
  });
  addEventListener('pagehide', farewell);
  addEventListener('pageshow', (shown) => {
    leaving = false;
    if (shown.persisted) returned();
  });
}

/** The tab is looked at again: the choice may have been made in another one meanwhile. */
async function returned() {
  heardAt = -Infinity;
  if (!(await stands())) return;
  dwell.start();
  if (queue) await queue.prepare();
}

export function page() {
  const title = document.title.slice(0, 300);
  track('page_view', title ? { title } : {});
  for (const element of document.querySelectorAll('[data-hs-load="purchase"]')) track('purchase', declared(element));
  scroll.deepest = scroll.reported = 0;
  scroll.measure();
  dwell.start();
}

// --- slots ---

export async function fill() {
  const slots = [...document.querySelectorAll('[data-hs-slot]')];
  if (twin.shown || !agent || !agent.personalise || !slots.length) return;
  const abort = new AbortController();
  const late = setTimeout(() => abort.abort(), DECIDE_MS);
  try {
    const { category } = declared(document.body);
    const body = JSON.stringify({ slots: slots.map((slot) => slot.dataset.hsSlot), path: location.pathname, ...(category ? { category } : {}) });
    const answer = await fetch(`${DOOR}/decide`, { method: 'POST', headers: headers(agent), body, signal: abort.signal });
    if (!answer.ok) return;
    const chosen = (await answer.json()).slots;
    if (twin.shown) return; // asked for meanwhile
    for (const slot of slots) {
      const shown = chosen[slot.dataset.hsSlot];
      if (shown) replace(slot, shown);
    }
  } catch {
    // Too slow or away: the default content stays.
  } finally {
    clearTimeout(late);
  }
}

// --- the question ---

function ask(notice) {
  const place = document.querySelector('[data-hs-notice]');
  if (!place) return;
  const title = document.createElement('strong');
  title.textContent = notice.title;
  const text = document.createElement('p');
  text.textContent = notice.paragraphs.join(' ');
  const link = document.createElement('a');
  link.href = notice.page;
  link.textContent = words(notice.language).choose;
  place.lang = notice.language || 'en';
  place.replaceChildren(title, text, link);
  place.hidden = false;
}

function introduce(notice) {
  if (notice.ask) ask(notice);
  for (const link of document.querySelectorAll('[data-hs-choices]')) {
    link.href = notice.page;
    link.hidden = false;
  }
  twin.offer(changed);
}

/** The person went over to the page's twin, or back to their own version. */
async function changed() {
  if (twin.shown) return settle();
  if (!(await stands())) return;
  await fill();
  page();
}

export async function start() {
  const asked = performance.now();
  const notice = await inquire();
  if (!notice || notice.version !== 1) return; // no agent here
  introduce(notice);
  // A GET records nothing, so an opt-out that the agent has not heard of yet goes out with an empty batch.
  if (notice.opt_out) await fetch(`${DOOR}/events`, { method: 'POST', headers: headers(notice), body: '[]' }).catch(() => {});
  if (!notice.collect.length) return Queue.forget();
  if (navigator.webdriver === undefined && /bot|crawl|spider/i.test(navigator.userAgent)) return;
  agent = notice;
  heardAt = asked;
  session = hex(8);
  await fill();
  queue = await Queue.open(notice);
  delete notice.key; // it is in the queue alone from here on
  await queue.load();
  if (!agent) return reset(); // taken back while the queue was opened
  listen();
  page();
  flush();
}

if (typeof document !== 'undefined') start();
