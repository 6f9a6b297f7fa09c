// Hearthside collector: an ES module without dependencies, served by the agent on the page's own origin.
//
// Nothing is read or stored before consent: the first thing it does is to ask the agent, and without a yes it stops
// there. It reads declared attributes only (an allow-list), never a form's value. If the agent is slow or absent, the
// page stays as it is.
//
//   <body data-hs-category="sneakers" data-hs-product="sneakers-7" data-hs-price="89.00">
//   <a data-hs-click="teaser" ...>                         a click worth counting
//   <button data-hs-event="add_to_cart" ...>               also remove_from_cart; on a form it counts at submit
//   <div data-hs-load="purchase">                          counted when the page is shown
//   <section data-hs-slot="hero">default content</section> may be replaced by a module
//   <div data-hs-notice hidden></div>                      where the question is put, if it has not been answered
//   <a data-hs-choices hidden>Your data and choices</a>    the way to the visitor's own page, on every page

const DOOR = '/.hearthside';
const DECIDE_MS = 300;
const FLUSH_MS = 2000;
const QUEUE_CAP = 500;
const BATCH = 100;
const KINDS_ON_CLICK = new Set(['add_to_cart', 'remove_from_cart']);
const TOKEN = /^[A-Za-z0-9_.:-]{1,64}$/;

let agent = null; // the notice, once consent is known
let session = null;
let queue = null;
let timer = 0;

// --- the queue: IndexedDB, so that a closed tab loses nothing that the next page can still hand over ---

class Queue {
  static open() {
    return new Promise((resolve) => {
      const request = indexedDB.open('hearthside', 1);
      request.onupgradeneeded = () => request.result.createObjectStore('events', { keyPath: 'event_id' });
      request.onsuccess = () => resolve(new Queue(request.result));
      request.onerror = () => resolve(new Queue(null));
    });
  }

  constructor(database) {
    this.database = database;
    this.memory = new Map();
  }

  run(mode, work) {
    return new Promise((resolve) => {
      if (!this.database) return resolve(undefined);
      const transaction = this.database.transaction('events', mode);
      const request = work(transaction.objectStore('events'));
      transaction.oncomplete = () => resolve(request && request.result);
      transaction.onabort = transaction.onerror = () => resolve(undefined);
    });
  }

  async put(event) {
    this.memory.set(event.event_id, event);
    if (this.memory.size > QUEUE_CAP) this.memory.delete(this.memory.keys().next().value);
    await this.run('readwrite', (store) => store.put(event));
  }

  async load() {
    const rows = (await this.run('readonly', (store) => store.getAll(null, QUEUE_CAP))) || [];
    for (const row of rows) this.memory.set(row.event_id, row);
  }

  async remove(events) {
    for (const event of events) this.memory.delete(event.event_id);
    await this.run('readwrite', (store) => events.map((event) => store.delete(event.event_id)).pop());
  }

  async clear() {
    this.memory.clear();
    await this.run('readwrite', (store) => store.clear());
  }
}

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
  if (!agent || !agent.collect.includes(kind)) return;
  const event = {
    version: 1,
    event_id: crypto.randomUUID ? crypto.randomUUID() : [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join(''),
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

function headers() {
  return { 'Content-Type': 'application/json', 'X-Hearthside-Token': agent.token };
}

async function flush() {
  timer = 0;
  if (!agent || !queue.memory.size) return;
  const batch = [...queue.memory.values()].slice(0, BATCH);
  try {
    const answer = await fetch(`${DOOR}/events`, { method: 'POST', headers: headers(), body: JSON.stringify(batch) });
    if (answer.status === 403) return reset(); // consent was taken back
    if (answer.ok || answer.status === 400) await queue.remove(batch);
  } catch {
    // The agent is away: the events wait here, and the next page tries again.
  }
  if (queue.memory.size && !timer) timer = setTimeout(flush, FLUSH_MS);
}

function farewell() {
  dwell.stop();
  scroll.report();
  if (!agent || !queue.memory.size) return;
  // A beacon is not acknowledged: the events stay queued, and the agent drops those it has already.
  const batch = JSON.stringify([...queue.memory.values()].slice(-BATCH));
  navigator.sendBeacon(`${DOOR}/events?t=${encodeURIComponent(agent.token)}`, new Blob([batch], { type: 'application/json' }));
}

export async function reset() {
  agent = null;
  if (queue) await queue.clear();
}

// --- visible dwell and scroll depth ---

const dwell = {
  since: null,
  start() {
    if (document.visibilityState === 'visible' && this.since === null) this.since = performance.now();
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
  document.addEventListener('visibilitychange', () => (document.visibilityState === 'hidden' ? farewell() : dwell.start()));
  addEventListener('pagehide', farewell);
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
  if (!agent || !agent.personalise || !slots.length) return;
  const abort = new AbortController();
  const late = setTimeout(() => abort.abort(), DECIDE_MS);
  try {
    const { category } = declared(document.body);
    const body = JSON.stringify({ slots: slots.map((slot) => slot.dataset.hsSlot), path: location.pathname, ...(category ? { category } : {}) });
    const answer = await fetch(`${DOOR}/decide`, { method: 'POST', headers: headers(), body, signal: abort.signal });
    if (!answer.ok) return;
    const chosen = (await answer.json()).slots;
    for (const slot of slots) {
      const shown = chosen[slot.dataset.hsSlot];
      if (!shown) continue;
      const template = document.createElement('template');
      template.innerHTML = shown.html; // sanitised when it was published and again by the agent
      slot.replaceChildren(template.content);
      slot.dataset.hsModule = shown.module;
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
  link.textContent = 'See what it does, and choose';
  place.replaceChildren(title, text, link);
  place.hidden = false;
}

export async function start() {
  let notice;
  try {
    const answer = await fetch(`${DOOR}/notice`, { headers: { Accept: 'application/json' } });
    if (!answer.ok) return;
    notice = await answer.json();
  } catch {
    return; // no agent here
  }
  if (notice.version !== 1) return;
  if (notice.ask) ask(notice);
  for (const link of document.querySelectorAll('[data-hs-choices]')) {
    link.href = notice.page;
    link.hidden = false;
  }
  // A GET records nothing, so an opt-out that the agent has not heard of yet goes out with an empty batch.
  if (notice.opt_out) await fetch(`${DOOR}/events`, { method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Hearthside-Token': notice.token }, body: '[]' }).catch(() => {});
  if (!notice.collect.length || navigator.webdriver === undefined && /bot|crawl|spider/i.test(navigator.userAgent)) return;
  agent = notice;
  session = [...crypto.getRandomValues(new Uint8Array(8))].map((b) => b.toString(16).padStart(2, '0')).join('');
  await fill();
  queue = await Queue.open();
  await queue.load();
  listen();
  page();
  flush();
}

if (typeof document !== 'undefined') start();
