// The API key, where the service wants one: asked for once, kept until the tab is closed.

const NAME = "dropserve-key";
let asking = null;

export const storedKey = () => sessionStorage.getItem(NAME);

export function keyHeaders(key = storedKey()) {
  return key ? { "x-api-key": key } : {};
}

export function forgetKey() {
  sessionStorage.removeItem(NAME);
}

/** Resolves once a key was given. Whoever asks meanwhile waits for the same dialog. */
export function askForKey(reason) {
  asking ??= show(reason).then((key) => {
    sessionStorage.setItem(NAME, key);
    asking = null;
  });
  return asking;
}

function show(reason) {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "key-title");
  dialog.innerHTML = `
    <form method="dialog">
      <h2 id="key-title">This service requires a key</h2>
      <p class="muted small"></p>
      <label for="key">API key</label>
      <input id="key" type="password" autocomplete="off" required
        pattern="[ -~]+" title="A key has letters, digits and signs of ASCII only">
      <div class="buttons"><button class="primary">Use it</button></div>
    </form>`;
  dialog.querySelector("p").textContent = `The service says: ${reason}. The key is kept until this tab is closed.`;
  document.body.append(dialog);
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const key = dialog.querySelector("input").value.trim();
      dialog.remove();
      resolve(key);
    });
  });
}
