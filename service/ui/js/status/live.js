// The live part of the status page: numbers that change from poll to poll.

import { buckets } from "./buckets.js";
import { bars, format, lines, percent } from "../charts.js";
import { byId as at, h } from "../dom.js";
import { figures, table } from "./parts.js";
import { isQuestion } from "./history.js";
import { mean, quantile, total, valuesOf } from "../metrics.js";

const STAGES = {
  receive: "Read the body",
  queue: "Wait in the queue",
  parse: "Parse",
  run: "Run the network",
  summarise: "Sum up samples",
  encode: "Write the answer",
};
const REASONS = {
  0: "aborted by a shutdown of the service",
  400: "the body is not valid JSON",
  401: "the key is missing or unknown",
  403: "the scope of the key is too small",
  404: "the model or path does not exist",
  405: "wrong method",
  408: "the body did not arrive in time",
  413: "the body is too large",
  415: "wrong content type",
  422: "a field has a wrong value",
  429: "overloaded: retry later",
  499: "the caller disconnected",
  500: "an internal error; the log has the details",
  503: "no model is ready",
  504: "the deadline has passed",
};
const choice = { route: "", stage: "" };

/** Draw the live part; `references` are mean mutual informations of the test rows by "name/version". */
export function showLive(history, references) {
  showFigures(history);
  showSpeed(history);
  showLatency(history);
  showStages(history);
  showRefusals(history);
  showDoubt(history, references);
  const legend = lately(history);
  for (const place of document.querySelectorAll("[data-legend]")) {
    place.replaceChildren(h("i", { class: "key key-all" }), "since start", h("i", { class: "key key-now" }), legend);
  }
}

/** Format seconds. */
export function time(seconds) {
  if (seconds === null) return "–";
  if (seconds >= 1) return `${format(seconds)} s`;
  return seconds >= 0.001 ? `${format(seconds * 1e3)} ms` : `${format(seconds * 1e6)} µs`;
}

function showFigures(history) {
  const latency = history.histogram("dropserve_request_seconds", { route: isQuestion });
  const received = history.counter("dropserve_requests_total", { route: isQuestion });
  const refused = history.refusals();
  const sum = (name) => total(history.latest, name);
  const busy = history.counter("process_cpu_seconds_total");
  const point = history.points.at(-1);
  const now = (share) => time(quantile(latency.now, share));
  at("figures").replaceChildren(figures([
    { name: "Requests a second", value: format(point?.received ?? 0), note: `${whole(received.all)} since start` },
    { name: "Median latency", value: now(0.5), note: `${time(quantile(latency.all, 0.5))} since start` },
    { name: "95th percentile", value: now(0.95), note: `${time(quantile(latency.all, 0.95))} since start` },
    { name: "Refused a second", value: format(point?.refused ?? 0), note: `${whole(refused.reduce((n, one) => n + one.all, 0))} since start` },
    { name: "Queue depth", value: whole(sum("dropserve_queue_depth")), note: sum("dropserve_queue_depth") ? `${time(sum("dropserve_queue_seconds"))} of work` : "empty" },
    { name: "Processor", value: history.seconds ? percent(busy.now / history.seconds) : "–", note: "of one core" },
    { name: "Memory", value: `${whole(sum("process_resident_memory_bytes") / 2 ** 20)} MiB`, note: `${whole(sum("dropserve_workers"))} ${sum("dropserve_workers") === 1 ? "worker" : "workers"}` },
  ]));
}

function showSpeed({ points }) {
  const end = points.at(-1)?.time ?? 0;
  const line = (name, field) => ({ name, points: points.map((point) => [point.time - end, point[field]]) });
  if (points.length < 2) return at("speed").replaceChildren(empty("A line begins after a few seconds."));
  const peak = Math.max(...points.flatMap(({ received, refused }) => [received, refused]));
  const series = [line("received", "received"), line("refused", "refused"), { name: "axis", points: [[0, peak ? 0 : 1]] }];
  at("speed").replaceChildren(lines({
    label: "Requests a second, up to five minutes back",
    series: peak ? series.slice(0, 2) : series,
    width: room("speed"), height: room("speed") > 480 ? 290 : 200, formatX: ago,
  }));
}

function showLatency(history) {
  const routes = valuesOf(history.latest, "dropserve_request_seconds_count", "route").filter(isQuestion).sort();
  choose("route", ["", ...routes], (route) => route || "all requests");
  choose("stage", ["", ...Object.keys(STAGES)], (stage) => (stage ? STAGES[stage] : "The whole request"));
  const wanted = { route: choice.route || isQuestion, ...(choice.stage && { stage: choice.stage }) };
  const { all, now } = history.histogram(choice.stage ? "dropserve_stage_seconds" : "dropserve_request_seconds", wanted);
  if (!all) return at("latency").replaceChildren(empty("There was no request yet."));
  const label = `Latency of ${choice.route || "all requests"}, ${choice.stage ? STAGES[choice.stage] : "the whole request"}`;
  const rows = [[capital(lately(history)), now], ["Since start", all]].map(([name, one]) => [
    name, whole(one.count), ...[0.5, 0.95, 0.99].map((share) => time(quantile(one, share))),
  ]);
  at("latency").replaceChildren(
    buckets({ label, all, now, say: time, width: room("latency") }),
    table({ caption: label, head: ["", "requests", "median", "95 %", "99 %"], rows, numbers: [1, 2, 3, 4], live: true }),
  );
}

function showStages(history) {
  const wanted = (stage) => ({ route: choice.route || isQuestion, stage });
  at("stages-of").textContent = `mean of ${choice.route || "all requests"}`;
  const items = Object.entries(STAGES).map(([stage, name]) => {
    const { all, now } = history.histogram("dropserve_stage_seconds", wanted(stage));
    const value = mean(now?.count ? now : all) ?? 0;
    return { name, value, text: time(value) };
  });
  if (!items.some(({ value }) => value)) return at("stages").replaceChildren(empty("No request was answered yet."));
  const whole = items.reduce((sum, { value }) => sum + value, 0);
  at("stages").replaceChildren(
    bars({ label: "Mean time of each stage", items, width: room("stages"), nameWidth: 126, valueWidth: 72 }),
    h("p", { class: "muted small" }, `Together ${time(whole)} from the first byte read to the answer.`),
  );
}

function showRefusals(history) {
  const found = history.refusals();
  if (!found.length) return at("refusals").replaceChildren(empty("No request was refused."));
  const rows = found.map(({ status, all, now }) => [status, REASONS[status] ?? "", whole(now), whole(all)]);
  at("refusals").replaceChildren(
    table({ caption: "Refusals by HTTP status", head: ["Status", "Meaning", capital(lately(history)), "Since start"], rows, numbers: [2, 3], live: true }),
  );
}

function showDoubt(history, references) {
  const seen = history.latest.filter(({ name }) => name === "dropserve_predictive_entropy_count");
  at("doubt-none").hidden = seen.length > 0;
  for (const { labels: { model, version } } of seen) {
    const id = `${model}/${version}`;
    const article = [...at("doubt").children].find((child) => child.dataset.of === id) ?? doubtCard(id, model, version);
    fillDoubt(article, history, { model, version }, references[id]);
  }
}

function doubtCard(id, model, version) {
  const title = (text) => h("h4", { class: "muted small" }, text);
  const article = h("article", { class: "card", "data-of": id, "aria-label": `Uncertainty of ${model}, version ${version}` },
    h("h3", { class: "model-name" }, model, h("span", { class: "muted" }, ` version ${version}`)),
    h("div", { "data-part": "figures" }),
    h("div", { class: "pair" },
      h("div", {}, title("Predictive entropy, nats: the total uncertainty"), h("div", { "data-part": "entropy" })),
      h("div", {}, title("Mutual information, nats: the disagreement of the networks"), h("div", { "data-part": "information" }))));
  at("doubt").append(article);
  return article;
}

function fillDoubt(article, history, place, reference) {
  const part = (name) => article.querySelector(`[data-part="${name}"]`);
  const entropy = history.histogram("dropserve_predictive_entropy", place);
  const information = history.histogram("dropserve_mutual_information", place);
  const decided = (decision) => history.counter("dropserve_decisions_total", { ...place, decision });
  const [accepted, referred] = [decided("accept"), decided("refer")];
  const share = (when) => (accepted[when] + referred[when] ? percent(referred[when] / (accepted[when] + referred[when])) : "–");
  part("figures").replaceChildren(figures([
    { name: "Rows sampled", value: whole(entropy.all.count), note: `${whole(entropy.now.count)} in the ${lately(history)}` },
    { name: "Referred to a person", value: share("all"), note: `${share("now")} in the ${lately(history)}` },
    { name: "Mean entropy", value: nats(mean(entropy.all)), note: `${nats(mean(entropy.now))} in the ${lately(history)}` },
    { name: "Mean mutual information", value: nats(mean(information.all)), note: `${nats(mean(information.now))} in the ${lately(history)}` },
  ]));
  const draw = (name, label, { all, now }, marks) =>
    part(name).replaceChildren(buckets({ label: `${label} of ${place.model}, version ${place.version}`, all, now, say: format, width: part(name).clientWidth, marks }));
  draw("entropy", "Predictive entropy in nats", entropy, []);
  draw("information", "Mutual information in nats", information, reference ? [{ name: `mean of the test rows ${format(reference)}`, value: reference }] : []);
}

/** Fill a select, and keep its choice. */
function choose(id, values, name) {
  const select = at(id);
  if (select.dataset.values !== values.join()) {
    select.dataset.values = values.join();
    select.replaceChildren(...values.map((value) => h("option", { value, selected: value === choice[id] }, name(value))));
    choice[id] = select.value;
  }
}

/** Connect the selects once; a choice calls `redraw`. */
export function onChoice(redraw) {
  for (const id of ["route", "stage"]) {
    at(id).addEventListener("change", () => {
      choice[id] = at(id).value;
      redraw();
    });
  }
}

const lately = ({ seconds }) => `last ${Math.max(1, Math.round(seconds))} s`;
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const whole = (value) => Math.round(value).toLocaleString("en");
const nats = (value) => (value === null ? "–" : format(value));
const ago = (seconds) => (seconds === 0 ? "now" : seconds % 60 ? `${-seconds} s ago` : `${-seconds / 60} min ago`);
const room = (id) => at(id).clientWidth || 420;
const empty = (text) => h("p", { class: "muted empty" }, text);
