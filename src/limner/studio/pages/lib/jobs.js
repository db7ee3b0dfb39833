// The jobs, as the server tells of them: one stream for the whole page.

import { post, remove } from "./api.js";

class Jobs {
  #all = new Map();
  #watchers = new Set();
  #planned = false;

  constructor() {
    const stream = new EventSource("/api/events");
    stream.addEventListener("job", (event) => {
      const job = JSON.parse(event.data);
      this.#all.set(job.id, job);
      this.#tell();
    });
    stream.addEventListener("removed", (event) => {
      this.#all.delete(JSON.parse(event.data).id);
      this.#tell();
    });
  }

  /** Call `watcher` with all jobs, now and whenever one changes; returns what ends it. */
  watch(watcher) {
    this.#watchers.add(watcher);
    if (this.#all.size) watcher(this.list());
    return () => this.#watchers.delete(watcher);
  }

  /** The latest first. */
  list() {
    return [...this.#all.values()].sort((one, other) => other.id - one.id);
  }

  get(id) {
    return this.#all.get(id);
  }

  give(kind, request, title) {
    return post("/api/jobs", { kind, request, title });
  }

  /** ask: "pause", "resume", "finish", "cancel", "skip" or "first". */
  ask(id, ask) {
    return post(`/api/jobs/${id}`, { ask });
  }

  remove(id) {
    return remove(`/api/jobs/${id}`);
  }

  /** A job's events after one of them, old ones and new ones, one after another; returns what ends it. */
  follow(id, heard, after = 0) {
    const stream = new EventSource(`/api/jobs/${id}/events?after=${after}`);
    stream.onmessage = (message) => {
      const event = JSON.parse(message.data);
      heard(event);
      if (event.event === "Ended" && event.status !== "yielded") stream.close();
    };
    return () => stream.close();
  }

  #tell() {
    if (this.#planned) return;
    this.#planned = true;
    requestAnimationFrame(() => {
      this.#planned = false;
      for (const watcher of this.#watchers) watcher(this.list());
    });
  }
}

export const jobs = new Jobs();
