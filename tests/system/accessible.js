// What a page gets wrong, from what the browser computed. Run in the page; returns the faults and the lowest contrast.
() => {
  const faults = [];
  const fault = (rule, node) => faults.push(rule + ': ' + node.outerHTML.slice(0, 120).replace(/\s+/g, ' '));
  const all = (selector) => [...document.querySelectorAll(selector)];
  const seen = (node) => node.checkVisibility({ visibilityProperty: true }) && node.getClientRects().length > 0;
  const text = (node) => (node.textContent || '').trim();
  const named = (node) => node.getAttribute('aria-label')
    || (node.getAttribute('aria-labelledby') || '').split(' ').map((id) => document.getElementById(id)).some((n) => n && text(n))
    || [...(node.labels || [])].some(text);

  if (!document.documentElement.lang) faults.push('lang: the page names no language');
  if (!document.title.trim()) faults.push('title: the page has none');
  if (!/width=device-width/.test((document.querySelector('meta[name=viewport]') || {}).content || '')) faults.push('viewport');
  for (const role of ['main', 'header', 'footer']) {
    if (all('body > ' + role).length !== 1) faults.push('landmark: expected one ' + role);
  }
  for (const nav of all('nav')) if (!named(nav)) fault('landmark without a name', nav);

  const headings = all('h1, h2, h3, h4, h5, h6').filter((node) => node.checkVisibility());
  if (headings.filter((node) => node.tagName === 'H1').length !== 1) faults.push('headings: expected one h1');
  let before = 0;
  for (const heading of headings) {
    const level = Number(heading.tagName[1]);
    if (level > before + 1) fault('heading skips from h' + before, heading);
    if (!text(heading)) fault('empty heading', heading);
    before = level;
  }

  const ids = all('[id]').map((node) => node.id);
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) faults.push('id twice: ' + id);
  for (const node of all('a[href], button, summary').filter(seen)) if (!text(node) && !named(node)) fault('no name', node);
  // The twin of a page is a state of it and not a place on it.
  for (const node of all('a[href^="#"]:not([href="#hearthside-plain"])')) if (!document.getElementById(node.hash.slice(1))) fault('link to nowhere', node);
  for (const node of all('input:not([type=hidden]), select, textarea, meter, [role=region]')) if (!named(node)) fault('no label', node);
  for (const node of all('svg')) if (node.getAttribute('aria-hidden') !== 'true' && !named(node)) fault('picture without words', node);
  for (const node of all('table')) {
    if (!node.caption) fault('table without a caption', node);
    for (const head of node.querySelectorAll('thead th')) if (head.scope !== 'col') fault('column head without scope', head);
  }
  for (const node of all('.scroll, pre')) if (node.tabIndex !== 0) fault('scrolls but cannot be focused', node);
  for (const node of all('[tabindex]')) if (node.tabIndex > 0) fault('jumps the focus order', node);
  for (const node of all('button, .button, .hs-button').filter(seen)) {
    const box = node.getBoundingClientRect();
    if (box.width < 24 || box.height < 24) fault('target under 24 px', node);
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push('the page scrolls sideways: ' + document.documentElement.scrollWidth);

  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  canvas.canvas.width = canvas.canvas.height = 1;
  const over = (layers) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const layer of layers) { canvas.fillStyle = layer; canvas.fillRect(0, 0, 1, 1); }
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = (colour) => [0.2126, 0.7152, 0.0722]
    .map((weight, at) => [weight, colour[at] / 255])
    .reduce((sum, [weight, c]) => sum + weight * (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4), 0);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let lowest = 21;
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!text(walker.currentNode) || !seen(node) || node.closest('.sr, .skip')) continue;
    const behind = ['Canvas'], style = getComputedStyle(node);
    let opacity = 1;
    for (let at = node; at; at = at.parentElement) {
      behind.splice(1, 0, getComputedStyle(at).backgroundColor);
      opacity *= Number(getComputedStyle(at).opacity);
    }
    const back = over(behind);
    const ink = over([`rgb(${back[0]} ${back[1]} ${back[2]})`, `color-mix(in srgb, ${style.color} ${100 * opacity}%, transparent)`]);
    const [dark, bright] = [light(ink), light(back)].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dark + 0.05), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    lowest = Math.min(lowest, ratio);
    if (ratio < (large ? 3 : 4.5)) fault('contrast ' + ratio.toFixed(2), node);
  }
  return { faults, lowest };
}
