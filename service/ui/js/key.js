// The API key, if the service requires one: entered once and kept until the tab is closed.

const NAME = "dropserve-key";
let asking = null;

export const storedKey = () => sessionStorage.getItem(NAME);

export function keyHeaders(key = storedKey()) {
  return key ? { "x-api-key": key } : {};
}

export function forgetKey() {
  sessionStorage.removeItem(NAME);
}

/** Resolves once a key is entered; simultaneous calls share one dialog. */
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
        pattern="[ -~]+" title="A key has only letters, digits and signs of ASCII">
      <div class="buttons"><button class="primary">Use it</button></div>
    </form>`;
  dialog.querySelector("p").textContent = `The service's message: ${reason}. The key is kept until this tab is closed.`;
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
