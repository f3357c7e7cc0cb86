// Fetches the part of the page that changes, while somebody sees it. The page works without.
"use strict";
(() => {
  const live = document.getElementById("cms-urlreload-live");
  // What is swapped loses the keyboard's focus, and a text that is being copied its selection.
  const isInUse = () =>
    live.contains(document.activeElement) ||
    (!getSelection().isCollapsed && live.contains(getSelection().focusNode));

  async function refresh() {
    if (document.hidden || isInUse()) return;
    const answer = await fetch("?live", { credentials: "same-origin" });
    if (answer.redirected) {
      location.reload(); // logged out meanwhile
    } else if (answer.ok && !isInUse()) {
      live.innerHTML = await answer.text();
    }
  }

  async function tick() {
    try {
      await refresh();
    } catch {
      // The site does not answer; the next attempt may find it.
    } finally {
      setTimeout(tick, live.dataset.refreshEvery * 1000);
    }
  }

  setTimeout(tick, live.dataset.refreshEvery * 1000);
})();
