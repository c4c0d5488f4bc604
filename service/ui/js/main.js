// The playground: a model, an input, how the networks are asked; then, at every change, the answer.

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
const EXPLORATORY = { "dropserve-exploratory": "1" }; // no data that the service's monitoring should count
const EDITORS = { image: imageEditor, fields: fieldsEditor, raw: rawEditor };

let shown = null; // the model that is asked, and what asks it: {manifest, examples, editor, sampling, units, panel}
let answered = null; // the newest answer, and what was set when it was asked: {manifest, question, reply, picture, described}
let pinned = null; // A, where something is compared with it
let speaking = 0;
let opened = 0;
let loading = false;
let scheme = new AbortController(); // of what repaints when the colours change

const question = () =>
  makeQuestion({ manifest: shown.manifest, row: shown.editor.row(), squashed: shown.units.squashed, ...shown.sampling.values });
const request = requestCard(question);
const choice = modelChoice({ model: byId("model"), version: byId("version"), description: byId("description") }, open);
const again = oneAtATime(ask);

/** Asks what is newest, and shows the answer. */
async function ask(isStale) {
  const asked = shown;
  try {
    const { now, set, reply } = await whenThere(async () => {
      const now = question();
      const { editor } = shown;
      const set = { outside: editor.outside(), altered: editor.altered(), picture: editor.picture(), described: editor.describe() };
      const { path, body } = withSamples(now, shown.manifest, shown.examples);
      const reply = await postJson(path, body, EXPLORATORY);
      return { now, set, reply: claimsOn(reply, asked.manifest, { ...set, coverage: body.coverage, blind: isBlind(reply) }) };
    });
    if (asked === shown) show({ manifest: asked.manifest, question: now, reply, ...set });
  } catch (error) {
    if (asked === shown) refused(error);
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

/** Another model: everything on the page is made for it, unless yet another was chosen meanwhile. */
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

/** What is shown is the answer to what is set; not while another model loads. */
function settle() {
  if (!loading) byId("answer").setAttribute("aria-busy", "false");
}

/** What the service refuses is told; anything else is a mistake of ours. */
function refused(error) {
  if (!(error instanceof Refused)) throw error;
  showError(error);
  settle();
  if (GONE.includes(error.status)) list().catch(() => {}); // the next question tells of a service that is away
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

/** The panel of the newest answer, beside it A's where one is pinned. */
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

/** What may be chosen, as it is now. */
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
addEventListener("focus", () => shown && list().catch(() => {})); // nobody has asked anything: nothing to tell
addEventListener("unhandledrejection", ({ reason }) => {
  showMistake(reason);
  settle();
});
start();
