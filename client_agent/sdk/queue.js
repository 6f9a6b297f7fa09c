// The collector's queue: IndexedDB, so that a closed tab loses nothing that the next page can still hand over. What
// happens while a page goes away (the time spent on it) is too late for IndexedDB; it waits in the tab's sessionStorage
// for the next page, and goes with the tab.
//
// A row remembers the consent epoch under which its event was collected. What belongs to another epoch (the person
// chose anew, or somebody else was here) is deleted when the queue is opened; without consent all of it is.

const STORE = 'hearthside';
const PARTING = 'hearthside-queue';
const QUEUE_CAP = 500;

export class Queue {
  static open(epoch) {
    return new Promise((resolve) => {
      const request = indexedDB.open(STORE, 1);
      request.onupgradeneeded = () => request.result.createObjectStore('events', { keyPath: 'event_id' });
      request.onsuccess = () => resolve(new Queue(request.result, epoch));
      request.onerror = () => resolve(new Queue(null, epoch));
    });
  }

  /** Without consent nothing stays in this browser, whichever tab wrote it. */
  static forget() {
    takeParting();
    return new Promise((resolve) => {
      const request = indexedDB.deleteDatabase(STORE);
      request.onsuccess = request.onerror = request.onblocked = () => resolve();
    });
  }

  constructor(database, epoch) {
    this.database = database;
    this.epoch = epoch;
    this.memory = new Map();
    if (database) database.onversionchange = () => this.close(); // another tab forgets everything: do not hold it up
  }

  close() {
    if (this.database) this.database.close();
    this.database = null;
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
    await this.run('readwrite', (store) => store.put({ event_id: event.event_id, epoch: this.epoch, event }));
  }

  /** For a page that goes away: the next one in this tab finds what is queued now. */
  part() {
    try {
      sessionStorage.setItem(PARTING, JSON.stringify({ epoch: this.epoch, events: [...this.memory.values()] }));
    } catch {
      // no storage, or full: only what IndexedDB has will be found
    }
  }

  /** What earlier pages left under this epoch; what was collected under another is deleted, not sent. */
  async load() {
    const parting = takeParting();
    for (const event of parting && parting.epoch === this.epoch ? parting.events : []) this.memory.set(event.event_id, event);
    const rows = (await this.run('readonly', (store) => store.getAll())) || [];
    const mine = rows.filter((row) => row.event && row.epoch === this.epoch);
    for (const row of mine.slice(-QUEUE_CAP)) this.memory.set(row.event_id, row.event);
    const others = rows.filter((row) => !mine.includes(row));
    if (others.length) await this.remove(others);
  }

  async remove(rows) {
    for (const row of rows) this.memory.delete(row.event_id);
    await this.run('readwrite', (store) => rows.map((row) => store.delete(row.event_id)).pop());
  }
}

function takeParting() {
  try {
    const found = JSON.parse(sessionStorage.getItem(PARTING));
    sessionStorage.removeItem(PARTING);
    return found;
  } catch {
    return null;
  }
}
