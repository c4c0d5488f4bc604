// The service's counters over polls: since its start, and recently.

import { grown, histogramOf, select, total } from "../metrics.js";

const WINDOW = 60;
const REMEMBERED = 300;
const QUESTION = /\/(predict|uncertainty|infer|ModelInfer)$/;
const HEALTH = /^\/(healthz|readyz|metrics|v2\/health\/.*)$/;

export const isQuestion = (route) => QUESTION.test(route);
const isRefusal = (status) => status === "0" || Number(status) >= 400;
const isNoHealth = (route) => !HEALTH.test(route);

/** Snapshots of the last minute, and a series of the last five. Times are in seconds of one clock. */
export class History {
  constructor() {
    this.snapshots = [];
    this.points = [];
  }

  /** Add the samples of a poll; a restarted service restarts the history. */
  add(time, samples) {
    const last = this.snapshots.at(-1);
    if (last && total(samples, "dropserve_requests_total") < total(last.samples, "dropserve_requests_total")) {
      this.snapshots = [];
      this.points = [];
    }
    const before = this.snapshots.at(-1);
    this.snapshots = [...this.snapshots.filter((snapshot) => time - snapshot.time <= WINDOW), { time, samples }];
    if (before && time > before.time) this.points.push({ time, ...speeds(before, { time, samples }) });
    this.points = this.points.filter((point) => time - point.time <= REMEMBERED);
  }

  get latest() {
    return this.snapshots.at(-1)?.samples;
  }

  /** The seconds covered by `now`. */
  get seconds() {
    return this.snapshots.at(-1).time - this.snapshots[0].time;
  }

  /** A counter since the start (`all`), and recently (`now`). */
  counter(name, wanted) {
    const all = total(this.latest, name, wanted);
    return { all, now: Math.max(0, all - total(this.snapshots[0].samples, name, wanted)) };
  }

  /** A histogram since the start, and recently; null without values. */
  histogram(name, wanted) {
    const all = histogramOf(this.latest, name, wanted);
    const before = histogramOf(this.snapshots[0].samples, name, wanted);
    return { all, now: this.seconds ? grown(all, before ?? emptied(all)) : emptied(all) };
  }

  /** The number of errors by status: [{status, all, now}]. */
  refusals() {
    const wanted = { status: isRefusal, route: isNoHealth };
    const found = select(this.latest, "dropserve_requests_total", wanted).map(({ labels }) => labels.status);
    const statuses = [...new Set(found)].sort((a, b) => a - b);
    return statuses.map((status) => ({ status, ...this.counter("dropserve_requests_total", { ...wanted, status }) }));
  }
}

function speeds(before, after) {
  const seconds = after.time - before.time;
  const rate = (wanted) =>
    Math.max(0, total(after.samples, "dropserve_requests_total", wanted) - total(before.samples, "dropserve_requests_total", wanted)) / seconds;
  return { received: rate({ route: isQuestion }), refused: rate({ route: isNoHealth, status: isRefusal }) };
}

function emptied(histogram) {
  return histogram && { ...histogram, counts: histogram.counts.map(() => 0), sum: 0, count: 0 };
}
