// Reloads the board when its data changed: the server tells, and the web app's own reload button
// does the work. A hidden tab listens to nothing and catches up when it is shown again.
(() => {
  "use strict";
  const REST_MS = 2000; // between two reloads, so that a fast writer does not keep a board busy
  const address = new URL("live", window.location.origin + window.location.pathname);
  let shown = document.querySelector('meta[name="tensordeck-state"]')?.content ?? "";
  let latest = shown;
  let events = null;
  let timer = 0;

  function reload() {
    timer = 0;
    if (latest === shown || document.hidden) return;
    const button = document.querySelector("app-header-reload button");
    // No button yet, a reload under way, or a tab that forbids it (graphs): look again later.
    if (button && !button.disabled && !button.classList.contains("loading")) {
      shown = latest;
      button.click();
    }
    timer = window.setTimeout(reload, REST_MS);
  }

  function listen() {
    if (events || document.hidden) return;
    events = new EventSource(address);
    events.onmessage = (event) => {
      latest = event.data;
      if (!timer) reload();
    };
  }

  function stop() {
    events?.close();
    events = null;
    window.clearTimeout(timer);
    timer = 0;
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", listen);
  listen();
})();
