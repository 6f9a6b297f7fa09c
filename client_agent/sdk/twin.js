// The non-personalised twin of every page: the page exactly as the site serves it, and nothing collected on that view.
//
// A twin is the page's own address with the fragment #hearthside-plain. Browsers send no fragment to anyone, and the
// wish to keep it for a tab stays in that tab's sessionStorage: neither the site nor a service hears of the choice.

const PLAIN = '#hearthside-plain';
const KEEP = 'hearthside-plain';
const WORDS = {
  en: {
    choose: 'See what it does, and choose',
    plain: 'This page without personalisation',
    shown: 'This page is shown without personalisation.',
    mine: 'Show my version',
    keep: 'Keep it like this while I look around',
    kept: 'It stays like this in this tab.',
  },
  de: {
    choose: 'Ansehen, was das bewirkt, und entscheiden',
    plain: 'Diese Seite ohne Personalisierung',
    shown: 'Diese Seite wird ohne Personalisierung gezeigt.',
    mine: 'Meine Fassung zeigen',
    keep: 'So lassen, während ich mich umsehe',
    kept: 'In diesem Tab bleibt es so.',
  },
};
const served = new Map(); // each filled slot, and the nodes that the site had put there

/** The page's language, as the page declares it. */
export const language = () => document.documentElement.lang.slice(0, 2).toLowerCase();
export const words = (name) => WORDS[name] || WORDS.en;

/** Put a module in a slot; the site's own content is kept for the twin. */
export function replace(slot, { html, module }) {
  if (!served.has(slot)) served.set(slot, [...slot.childNodes]);
  const template = document.createElement('template');
  template.innerHTML = html; // sanitised when it was published and again by the agent
  slot.replaceChildren(template.content);
  slot.dataset.hsModule = module;
}

export function restore() {
  for (const [slot, nodes] of served) {
    slot.replaceChildren(...nodes);
    delete slot.dataset.hsModule;
  }
}

export const twin = {
  shown: false,
  changed: null, // told after a change

  /** Show what the address, or the wish for this tab, asks for; put the links where the page has room for them. */
  offer(changed) {
    this.changed = changed;
    this.shown = wanted();
    this.draw();
    addEventListener('hashchange', () => this.appear());
    addEventListener('pageshow', (again) => again.persisted && this.appear());
  },

  appear() {
    if (wanted() === this.shown) return this.draw();
    this.shown = !this.shown;
    if (this.shown) restore();
    this.draw();
    this.changed();
  },

  /** The same links on every page, whatever was consented. */
  draw() {
    for (const place of document.querySelectorAll('[data-hs-plain]')) fillIn(place, this.shown, words(language()));
  },
};

function wanted() {
  return location.hash === PLAIN || kept();
}

function kept() {
  try {
    return sessionStorage.getItem(KEEP) === '1';
  } catch {
    return false; // a browser without storage: the fragment alone counts
  }
}

function keep() {
  try {
    sessionStorage.setItem(KEEP, '1');
  } catch {
    return; // likewise
  }
  twin.draw();
}

function mine() {
  if (kept()) sessionStorage.removeItem(KEEP);
  if (location.hash === PLAIN) history.replaceState(null, '', location.pathname + location.search);
  twin.appear();
}

function fillIn(place, shown, said) {
  const focused = place.contains(document.activeElement);
  const status = place.querySelector('[role=status]') || document.createElement('span');
  status.setAttribute('role', 'status');
  const controls = shown ? [button(said.mine, mine), ...(kept() ? [] : [button(said.keep, keep)])] : [link(said.plain)];
  place.replaceChildren(status, ...controls.flatMap((each) => [' ', each]));
  status.textContent = shown ? said.shown + (kept() ? ` ${said.kept}` : '') : '';
  place.hidden = false;
  if (focused) controls[0].focus();
}

function link(label) {
  const found = document.createElement('a');
  found.href = PLAIN;
  found.textContent = label;
  return found;
}

function button(label, act) {
  const found = document.createElement('button');
  found.type = 'button';
  found.className = 'hs-link';
  found.textContent = label;
  found.addEventListener('click', act);
  return found;
}
