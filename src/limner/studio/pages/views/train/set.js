// The set of pictures that the page is about: loaded once, loaded again when a check ends, shared by all parts.

import { get, patch, post } from "../../lib/api.js";
import { jobs } from "../../lib/jobs.js";

const USUAL = { base: "", method: "lora" };
const SECONDS_BETWEEN_LOADS = 1.5; // while a check is under way

export class PictureSet {
  #watchers = new Set();
  #stop = () => {};
  #loaded = 0;
  #ended = new Set();

  constructor(id) {
    this.id = id;
    this.pictures = [];
    this.remarks = [];
    this.wishes = {};
    this.job = null;
  }

  async open() {
    await this.load();
    this.#stop = jobs.watch((all) => this.#heard(all));
  }

  close() {
    this.#stop();
  }

  /** Call `watcher` whenever something of the set is new. */
  watch(watcher) {
    this.#watchers.add(watcher);
    watcher(this);
  }

  tell() {
    for (const watcher of this.#watchers) watcher(this);
  }

  async load() {
    this.#loaded = performance.now();
    Object.assign(this, await get(`/api/datasets/${this.id}`));
    this.tell();
  }

  /** Decide of a picture: { keep, crop, caption, mask }, null for what Limner is to decide. */
  async decide(number, said) {
    const picture = await patch(`/api/datasets/${this.id}/pictures/${number}`, said);
    this.#put(picture);
    const hasTwins = picture.findings.some(({ kind }) => kind === "best" || kind === "duplicate");
    if ("keep" in said && hasTwins) await this.check(); // which of those that show the same is kept may be another now
  }

  async giveMask(number, blob) {
    const answer = await fetch(`/api/datasets/${this.id}/pictures/${number}/mask`, { method: "PUT", body: blob });
    const told = await answer.json();
    if (!answer.ok) throw new Error(typeof told.detail === "string" ? told.detail : "the mask was not taken");
    this.#put(told);
  }

  async removePictures(numbers) {
    await post(`/api/datasets/${this.id}/remove`, { numbers });
    await this.load();
  }

  /** What the pictures are to be used for; they are looked at again for it. */
  async wish(wishes) {
    const changed = Object.entries(wishes).some(([name, value]) => (this.wishes[name] ?? USUAL[name] ?? "") !== value);
    if (!changed) return;
    await patch(`/api/datasets/${this.id}`, wishes);
    Object.assign(this.wishes, wishes);
    if (this.pictures.length) await this.check();
  }

  async check() {
    await post(`/api/datasets/${this.id}/check`);
  }

  address(picture, what) {
    return `/api/datasets/${this.id}/pictures/${picture.number}/${what}?at=${this.checked ?? 0}`;
  }

  get kept() {
    return this.pictures.filter((picture) => picture.kept);
  }

  #put(picture) {
    const at = this.pictures.findIndex((each) => each.number === picture.number);
    if (at >= 0) this.pictures[at] = picture;
    this.tell();
  }

  #heard(all) {
    const mine = all.filter((job) => job.kind === "check" && job.request.dataset === this.id);
    const open = mine.find((job) => job.status === "queued" || job.status === "running");
    const failed = mine.find((job) => job.status === "failed");
    const isOver = mine.some((job) => job.ended && !this.#ended.has(job.id) && this.#ended.add(job.id));
    const was = this.job;
    this.job = open ?? null;
    this.problemOfCheck = !open && failed ? failed.error : "";
    const isTime = performance.now() - this.#loaded > SECONDS_BETWEEN_LOADS * 1000;
    if (isOver || (was && !open) || (open?.status === "running" && isTime)) this.load();
    else if (open || was) this.tell();
  }
}
