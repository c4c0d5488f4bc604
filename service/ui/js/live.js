// One question at a time, and the newest wins.

/** `again()`: ask now, or once more as soon as the question in flight is answered. `ask` asks what is then newest. */
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

/** Resolves when the browser paints, or soon where it does not, as in a tab in the background. */
export function nextFrame() {
  return new Promise((resolve) => {
    if (document.hidden) setTimeout(resolve, 50);
    else requestAnimationFrame(resolve);
  });
}
