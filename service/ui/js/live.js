// Send one request at a time, always with the newest state.

/** Return {again}: `again()` calls `ask` now, or once more after the request in flight. */
export function oneAtATime(ask) {
  let busy = false;
  let stale = false;
  return async function again() {
    stale = true;
    if (busy) return;
    busy = true;
    try {
      while (stale) {
        stale = false;
        await ask(() => stale);
      }
    } finally {
      busy = false;
    }
  };
}

/** Resolves when the browser paints, or after a short time in a background tab. */
export function nextFrame() {
  return new Promise((resolve) => {
    if (document.hidden) setTimeout(resolve, 50);
    else requestAnimationFrame(resolve);
  });
}
