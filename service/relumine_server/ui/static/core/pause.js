// A button that stops the live updates of a page, and says since when it shows what it shows.

import { el } from "./elements.js";

// `age` is the element that says how old the data is; it is hidden meanwhile, because it would go on counting.
export function pauseControl(age = null) {
  let isPaused = false;
  let isExcepted = false;
  const status = el("span", { class: "quiet", role: "status", id: "paused" });
  const button = el("button", { type: "button", class: "small", id: "pause", click: toggle }, "Pause");
  function toggle() {
    isPaused = !isPaused;
    button.textContent = isPaused ? "Resume" : "Pause";
    status.textContent = isPaused ? `paused, as of ${new Date().toLocaleTimeString("en-GB")}` : "";
    if (age) age.hidden = isPaused;
    if (!isPaused) wake();
  }
  return {
    root: el("span", { class: "pause" }, status, button),
    // Returns whether the next update is to be left out.
    takesUpdate() {
      const takes = !isPaused || isExcepted;
      isExcepted = false;
      return takes;
    },
    // Lets one update through: the reader has changed something and wants to see it.
    refreshNow() {
      isExcepted = true;
      wake();
    },
  };
}

// The poll waits until its time is over or the page becomes "visible" again.
function wake() {
  document.dispatchEvent(new Event("visibilitychange"));
}
