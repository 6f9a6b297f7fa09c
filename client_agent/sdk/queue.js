// The collector's queue: in memory, and sealed in IndexedDB, so that a closed tab loses nothing that the next page can
// still hand over.
//
// Nothing lies in this browser's files that anything in it could open. Each row is encrypted under a key that the notice
// gave to this page, which keeps it in memory only; beside the row lies the same key sealed for the agent. So a page
// cannot read what another one left: it hands the rows over as they are, and the agent opens those of the person who is
// here, under the consent that stands, and no others. Without WebCrypto (plain http off loopback) memory is all there is.
//
// What happens while a page goes away (the time spent on it) is too late for IndexedDB and for encrypting. It is added
// to a piece of the key's stream that was made before, and waits in the tab's sessionStorage for the next page.

const STORE = 'hearthside';
const ROWS = 'sealed';
const PARTING = 'hearthside-queue';
const QUEUE_CAP = 500;
const STREAM_BYTES = 8192;
const TAG_BYTES = 16;

const text64 = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
const bytes64 = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (sign) => sign.charCodeAt(0));
const written = (events) => new TextEncoder().encode(JSON.stringify(events));

export class Queue {
  /** A queue under the key of a notice; without a key, or where the browser cannot encrypt, in memory only. */
  static async open({ key, sealed }) {
    const queue = new Queue(sealed);
    if (!key || !globalThis.crypto?.subtle) return queue;
    try {
      queue.key = await crypto.subtle.importKey('raw', bytes64(key), 'AES-GCM', false, ['encrypt']);
      await queue.prepare();
      queue.database = await opened();
      if (queue.database) queue.database.onversionchange = () => queue.close(); // another tab forgets everything: do not hold it up
    } catch {
      queue.key = null;
    }
    return queue;
  }

  /** Without consent nothing stays in this browser, whichever tab wrote it. */
  static forget() {
    takeParting();
    return new Promise((resolve) => {
      const request = indexedDB.deleteDatabase(STORE);
      request.onsuccess = request.onerror = request.onblocked = () => resolve();
    });
  }

  constructor(sealed) {
    this.sealed = sealed;
    this.key = null;
    this.stream = null;
    this.database = null;
    this.memory = new Map(); // by event or row: what the agent is sent, where it lies (a promise), whether it is there
  }

  close() {
    if (this.database) this.database.close();
    this.database = null;
  }

  run(mode, work) {
    return new Promise((resolve) => {
      if (!this.database) return resolve(undefined);
      const transaction = this.database.transaction(ROWS, mode);
      const request = work(transaction.objectStore(ROWS));
      transaction.oncomplete = () => resolve(request && request.result);
      transaction.onabort = transaction.onerror = () => resolve(undefined);
    });
  }

  async encrypt(bytes) {
    const iv = crypto.getRandomValues(new Uint8Array(12));
    return [text64(iv), new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, this.key, bytes))];
  }

  /** Make the piece of the key's stream that the next parting is added to; each is used once. */
  async prepare() {
    if (!this.key || this.stream) return;
    const [iv, bytes] = await this.encrypt(new Uint8Array(STREAM_BYTES));
    this.stream = { iv, bytes: bytes.subarray(0, -TAG_BYTES) };
  }

  put(event) {
    const item = { body: event, at: null, kept: false };
    item.at = this.keep(event).then((iv) => {
      item.kept = Boolean(iv);
      return iv;
    });
    this.memory.set(event.event_id, item);
    if (this.memory.size > QUEUE_CAP) this.remove([this.memory.keys().next().value]);
  }

  /** Seal an event into IndexedDB; its row's name, nothing where it is in memory only. */
  async keep(event) {
    if (!this.key || !this.database) return undefined;
    try {
      const [iv, data] = await this.encrypt(written([event]));
      await this.run('readwrite', (store) => store.put({ iv, sealed: this.sealed, data: text64(data) }));
      return iv;
    } catch {
      return undefined; // no room, or the store was closed meanwhile
    }
  }

  /** For a page that goes away: the next one in this tab finds what IndexedDB does not have yet. */
  part() {
    const late = written([...this.memory.values()].filter((item) => !item.kept && !item.body.sealed).map((item) => item.body));
    if (!this.stream || late.length > this.stream.bytes.length) return;
    const { iv, bytes } = this.stream;
    this.stream = null;
    try {
      const row = { iv, sealed: this.sealed, late: text64(late.map((byte, place) => byte ^ bytes[place])) };
      sessionStorage.setItem(PARTING, JSON.stringify(row));
    } catch {
      // no storage, or full: only what IndexedDB has will be found
    }
  }

  /** What earlier pages left, to be handed over as it is; whose it was, and under which consent, the agent sees. */
  async load() {
    const parting = takeParting();
    if (parting) await this.run('readwrite', (store) => store.put(parting));
    const rows = (await this.run('readonly', (store) => store.getAll())) || [];
    for (const row of rows) this.memory.set(row.iv, { body: row, at: Promise.resolve(row.iv), kept: true });
    if (this.memory.size > QUEUE_CAP) await this.remove([...this.memory.keys()].slice(QUEUE_CAP));
  }

  async remove(names) {
    const gone = names.map((name) => this.memory.get(name)).filter(Boolean);
    for (const name of names) this.memory.delete(name);
    const kept = (await Promise.all(gone.map((item) => item.at))).filter(Boolean);
    if (kept.length) await this.run('readwrite', (store) => kept.map((iv) => store.delete(iv)).pop());
  }
}

function opened() {
  return new Promise((resolve) => {
    const request = indexedDB.open(STORE, 2);
    request.onupgradeneeded = () => {
      for (const name of [...request.result.objectStoreNames]) request.result.deleteObjectStore(name);
      request.result.createObjectStore(ROWS, { keyPath: 'iv' });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => resolve(null);
  });
}

function takeParting() {
  try {
    const found = JSON.parse(sessionStorage.getItem(PARTING));
    sessionStorage.removeItem(PARTING);
    return found && found.iv && found.sealed ? found : null;
  } catch {
    return null;
  }
}
