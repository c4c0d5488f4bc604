// The status page: polls the service every two seconds.

import { Refused, Unreachable, getJson, getText, waits } from "./api.js";
import { byId as at } from "./dom.js";
import { History } from "./status/history.js";
import { showNamed } from "./status/documents.js";
import { onChoice, showLive } from "./status/live.js";
import { parse, select, valuesOf } from "./metrics.js";
import { Models } from "./status/models.js";

const POLL = 2000;
const history = new History();
const models = new Models(at("models"));
let paused = false;
let wake = () => {};

async function run() {
  let waiting = waits();
  for (;;) {
    let pause = POLL;
    try {
      await poll();
      showAway(null);
      waiting = waits();
    } catch (error) {
      pause = waiting.next().value;
      showAway(error, pause / 1000);
    }
    await sleep(pause);
    await whenSeen();
  }
}

async function poll() {
  const [text, readiness] = await Promise.all([getText("metrics"), ready()]);
  const samples = parse(text);
  history.add(performance.now() / 1000, samples);
  showReady(readiness, samples);
  showLive(history, models.references);
  await models.show(select(samples, "dropserve_model_loaded"));
}

/** The answer of /readyz, or its error with the reason. */
async function ready() {
  try {
    return await getJson("readyz");
  } catch (error) {
    if (error instanceof Refused) return error;
    throw error;
  }
}

function showReady(readiness, samples) {
  const tag = at("ready");
  const good = !(readiness instanceof Refused);
  write(tag, good ? "Ready" : "Not ready");
  tag.className = good ? "tag good" : "tag bad";
  const texts = Object.entries((good ? readiness.failures : readiness.details.failures) ?? {});
  const why = [...(good ? [] : [`${readiness.message}.`]), ...texts.map(([place, reason]) => `${place}: ${reason}`)];
  write(at("problem"), why.join("\n"));
  at("problem").className = good ? "notice warn" : "notice bad";
  at("problem").hidden = !why.length;
  const workers = valuesOf(samples, "process_start_time_seconds", "worker").length;
  const began = Math.min(...select(samples, "process_start_time_seconds").map(({ value }) => value));
  const up = Number.isFinite(began) ? `Up ${duration(Date.now() / 1000 - began)}` : "";
  write(at("since"), [up, workers > 1 ? `${workers} workers, summed` : ""].filter(Boolean).join(" · "));
}

/** Shows the banner of an unreachable service; null hides it. */
function showAway(error, seconds) {
  at("away").hidden = !error;
  at("everything").classList.toggle("stale", Boolean(error));
  if (!error) return;
  write(at("ready"), "Unknown");
  at("ready").className = "tag warn";
  const known = error instanceof Unreachable || error instanceof Refused;
  write(at("away-text"), `${known ? error.message : "The answer of the service is not understood."} The numbers shown are from before; next try in ${seconds} s.`);
}

/** Writes only changes, so that screen readers do not repeat the same text. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function duration(seconds) {
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = parts.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [unit, size] = parts[first];
  const rest = parts[first + 1] && Math.floor((seconds % size) / parts[first + 1][1]);
  return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${parts[first + 1][0]}` : ""}`;
}

function sleep(milliseconds) {
  return new Promise((resolve) => {
    wake = resolve;
    setTimeout(resolve, milliseconds);
  });
}

/** A hidden page does not poll. */
function whenSeen() {
  return new Promise((resolve) => {
    const look = () => {
      if (paused || document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      at("pause").removeEventListener("click", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    at("pause").addEventListener("click", look);
    look();
  });
}

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", paused);
});
onChoice(() => history.latest && showLive(history, models.references));
addEventListener("hashchange", () => showNamed(location));
showNamed(location);
at("away-now").addEventListener("click", () => wake());
run();
