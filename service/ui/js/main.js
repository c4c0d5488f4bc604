// The playground: choose a model, an input and the sampling; every change shows the new answer.

import { answerPanel, glance, say } from "./answer.js";
import { postJson, Refused } from "./api.js";
import { showMistake, whenThere } from "./away.js";
import { claimsOn } from "./claims.js";
import { comparison, pinnedPanel } from "./compare.js";
import { byId, h } from "./dom.js";
import { clearErrors, showError } from "./errors.js";
import { fieldsEditor } from "./input_fields.js";
import { imageEditor } from "./input_image.js";
import { rawEditor } from "./input_raw.js";
import { rowKind } from "./kinds.js";
import { nextFrame, oneAtATime } from "./live.js";
import { listModels, loadModel, modelChoice } from "./models.js";
import { isBlind, makeQuestion, withSamples } from "./question.js";
import { requestCard } from "./request.js";
import { samplingEditor } from "./sampling.js";
import { unitsEditor } from "./units.js";

const QUIET = 700;
const GONE = [404, 503];
const EXPLORATORY = { "dropserve-exploratory": "1" }; // invented rows must not count in the service's monitoring
const EDITORS = { image: imageEditor, fields: fieldsEditor, raw: rawEditor };

let shown = null; // the current model and its controls: {manifest, examples, editor, sampling, units, panel}
let answered = null; // the newest answer and its request: {manifest, question, reply, picture, described}
let pinned = null; // the answer A of a comparison, or null
let speaking = 0;
let opened = 0;
let loading = false;
let scheme = new AbortController(); // aborts the repainting on changes of the colours

const question = () =>
  makeQuestion({ manifest: shown.manifest, row: shown.editor.row(), dropped: shown.units.dropped, ...shown.sampling.values });
const request = requestCard(question);
const choice = modelChoice({ model: byId("model"), version: byId("version"), description: byId("description") }, open);
const again = oneAtATime(ask);

/** Sends the newest request, and shows the answer. */
async function ask(isStale) {
  const current = shown;
  try {
    const { now, set, reply } = await whenThere(async () => {
      const now = question();
      const { editor } = shown;
      const set = { outside: editor.outside(), altered: editor.altered(), picture: editor.picture(), described: editor.describe() };
      const { path, body } = withSamples(now, shown.manifest, shown.examples);
      const reply = await postJson(path, body, EXPLORATORY);
      return { now, set, reply: claimsOn(reply, current.manifest, { ...set, coverage: body.coverage, blind: isBlind(reply) }) };
    });
    if (current === shown) show({ manifest: current.manifest, question: now, reply, ...set });
  } catch (error) {
    if (current === shown) refused(error);
  }
  await nextFrame();
  if (!isStale()) settle();
  document.dispatchEvent(new Event("answered"));
}

function change() {
  if (!shown) return;
  byId("answer").setAttribute("aria-busy", "true");
  request.refresh();
  again();
}

function show(answer) {
  answered = answer;
  clearErrors();
  shown.panel.show(answer.reply);
  pinned?.table.show(answered);
  byId("pin").disabled = false;
  byId("glance").replaceChildren(...glance(answer.manifest, answer.reply).map((text) => h("span", {}, text)));
  clearTimeout(speaking);
  speaking = setTimeout(() => (byId("said").textContent = say(answer.manifest, answer.reply)), QUIET);
}

/** Builds the page for another model, unless yet another was chosen meanwhile. */
async function open(name, version) {
  byId("answer").setAttribute("aria-busy", "true");
  const turn = (opened += 1);
  loading = true;
  const newest = () => turn === opened;
  const loaded = await whenThere(() => loadModel(name, version))
    .catch((error) => newest() && refused(error))
    .finally(() => newest() && (loading = false));
  if (!newest()) return;
  if (loaded) return build(loaded);
  if (shown) choice.show(shown.manifest);
  settle();
}

/** Marks the shown answer as current, or as stale while another model loads. */
function settle() {
  if (!loading) byId("answer").setAttribute("aria-busy", "false");
}

/** Shows an error of the service; any other error is the page's own. */
function refused(error) {
  if (!(error instanceof Refused)) throw error;
  showError(error);
  settle();
  if (GONE.includes(error.status)) list().catch(() => {}); // the next request shows whether the service is unreachable
}

function build({ manifest, examples }) {
  shown = null;
  const kind = rowKind(manifest);
  scheme.abort();
  scheme = new AbortController();
  const { signal } = scheme;
  const made = {
    manifest,
    examples,
    editor: EDITORS[kind.kind]({ kind, manifest, examples, onchange: change, signal }),
    sampling: samplingEditor({ manifest, onchange: change }),
    units: unitsEditor({ sites: manifest.sites, onchange: change, signal }),
    panel: answerPanel(manifest),
  };
  shown = made;
  choice.show(manifest);
  byId("warnings").replaceChildren(...manifest.warnings.map((warning) => h("p", { class: "notice warn" }, h("strong", {}, "Warning: "), `${warning}.`)));
  byId("input").replaceChildren(made.editor.element);
  byId("sampling").replaceChildren(made.sampling.element);
  byId("deciding").replaceChildren(made.sampling.deciding);
  byId("deciding-title").textContent = manifest.task === "regression" ? "Interval" : "Accept or refer";
  byId("deciding-card").hidden = !made.sampling.deciding.childElementCount;
  byId("units").replaceChildren(made.units.element);
  request.enable();
  clearErrors();
  layOut();
  change();
}

/** Shows the panel of the newest answer, beside that of a pinned A. */
function layOut() {
  const panels = pinned ? [named("A", pinned.panel), named("B", shown.panel.element)] : [shown.panel.element];
  byId("panels").replaceChildren(...panels);
  byId("panels").classList.toggle("two", Boolean(pinned));
  byId("comparison").replaceChildren(...(pinned ? [pinned.table.element] : []));
  byId("pin").textContent = pinned ? "Unpin A" : "Pin as A, to compare";
}

const named = (name, panel) => h("div", {}, h("h3", { class: "side" }, name === "A" ? "A, pinned" : "B, now"), panel);

function pin() {
  if (pinned) pinned = null;
  else {
    pinned = { table: comparison(answered), panel: pinnedPanel(answered) };
  }
  layOut();
  change();
}

/** Updates the lists of models and versions. */
async function list() {
  const models = await listModels();
  choice.update(models);
  if (shown && !loading) choice.show(shown.manifest);
  return models;
}

async function start() {
  const models = await whenThere(list);
  await open(models[0].name, models[0].usual ?? models[0].versions.at(-1));
}

byId("pin").addEventListener("click", pin);
addEventListener("focus", () => shown && list().catch(() => {})); // errors are not shown, as there was no action of the user
addEventListener("unhandledrejection", ({ reason }) => {
  showMistake(reason);
  settle();
});
start();
