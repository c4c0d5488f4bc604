// Which model is asked.

import { getJson, modelPath, Unreachable } from "./api.js";
import { h } from "./dom.js";

/** The models that serve: [{name, versions, usual}], the default one first. Raises Unreachable while there is none. */
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

/** What a version says of itself, and rows that it may be asked. */
export async function loadModel(name, version) {
  const path = modelPath(name, version);
  const [manifest, { inputs }] = await Promise.all([getJson(path), getJson(`${path}/examples`)]);
  return { manifest: { ...manifest, model: name, version }, examples: Array.isArray(inputs) ? inputs : rowsOf(inputs) };
}

/** Lists of rows by input → a list of objects. */
function rowsOf(inputs) {
  const [[, first]] = Object.entries(inputs);
  return first.map((_, i) => Object.fromEntries(Object.entries(inputs).map(([name, rows]) => [name, rows[i]])));
}

/** One option each; the chosen one too where it has gone, but not to be chosen again. */
function options(values, chosen) {
  const made = values.map((one) => h("option", { value: one, selected: one === chosen }, String(one)));
  return values.includes(chosen) ? made : [...made, h("option", { value: chosen, selected: true, disabled: true }, `${chosen}, gone`)];
}

/** Two lists to choose from; `choose(name, version)` is told. */
export function modelChoice({ model, version, description }, choose) {
  let models = [];
  let filled = "";
  /** What has not changed is left alone: somebody may have the list open. */
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
