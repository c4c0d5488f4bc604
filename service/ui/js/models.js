// The choice of a model.

import { getJson, modelPath, Unreachable } from "./api.js";
import { h } from "./dom.js";

/** Return the ready models: [{name, versions, usual}], the default one first. Raises Unreachable while there is none. */
export async function listModels() {
  const { default_model: first, models } = await getJson("v1/models").catch(notReady);
  const ready = models.map(({ model, default_version: usual, versions }) => ({
    name: model,
    usual,
    versions: versions.filter((one) => one.state === "ready").map((one) => one.version),
  }));
  const serving = ready.filter((model) => model.versions.length).sort((a, b) => (b.name === first) - (a.name === first));
  if (!serving.length) throw new Unreachable("No model is ready.");
  return serving;
}

function notReady(error) {
  throw error.status === 503 ? new Unreachable(`The service is not ready: ${error.message}.`) : error;
}

/** Return a version's description and example rows. */
export async function loadModel(name, version) {
  const path = modelPath(name, version);
  const [manifest, { inputs }] = await Promise.all([getJson(path), getJson(`${path}/examples`)]);
  return { manifest: { ...manifest, model: name, version }, examples: Array.isArray(inputs) ? inputs : rowsOf(inputs) };
}

/** Convert lists of rows by input to a list of objects. */
function rowsOf(inputs) {
  const [[, first]] = Object.entries(inputs);
  return first.map((_, i) => Object.fromEntries(Object.entries(inputs).map(([name, rows]) => [name, rows[i]])));
}

/** Fill a list of options; a chosen one that no longer exists stays, but cannot be chosen again. */
function options(values, chosen) {
  const made = values.map((one) => h("option", { value: one, selected: one === chosen }, String(one)));
  return values.includes(chosen) ? made : [...made, h("option", { value: chosen, selected: true, disabled: true }, `${chosen}, gone`)];
}

/** Two lists, of models and versions; a choice calls `choose(name, version)`. */
export function modelChoice({ model, version, description }, choose) {
  let models = [];
  let filled = "";
  /** Lists without changes are not rebuilt, as one may be open. */
  const fill = (name, number) => {
    const state = JSON.stringify([models, name, number]);
    if (state !== filled) list(name, number);
    filled = state;
    [model.value, version.value] = [name, number];
  };
  const list = (name, number) => {
    const versions = models.find((one) => one.name === name)?.versions ?? [];
    model.replaceChildren(...options(models.map((one) => one.name), name));
    version.replaceChildren(...options(versions, number));
    version.disabled = version.options.length < 2;
  };
  model.addEventListener("change", () => {
    const chosen = models.find((one) => one.name === model.value);
    choose(chosen.name, chosen.usual ?? chosen.versions.at(-1));
  });
  version.addEventListener("change", () => choose(model.value, Number(version.value)));
  return {
    update: (listed) => (models = listed),
    show: (manifest) => {
      fill(manifest.model, manifest.version);
      description.textContent = manifest.description;
    },
  };
}
