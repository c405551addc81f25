// The theme: light, dark, or that of the system. A plain script that the browser runs before it draws anything, so that no
// page appears in the other theme first. What is chosen is kept in this browser.
//
// The theme is the attribute data-theme of the document; a change of it is the event "themechange" of the window.

(() => {
  const KEY = "relumine.theme";
  const { documentElement: root } = document;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let choice = null;
  try {
    choice = localStorage.getItem(KEY);
  } catch {
    // this browser keeps no data of this page
  }

  function show() {
    const theme = ["light", "dark"].includes(choice) ? choice : system.matches ? "dark" : "light";
    document.querySelector("meta[name=color-scheme]").content = theme; // the ground before the styles are there
    if (root.dataset.theme === theme) return;
    root.dataset.theme = theme;
    window.dispatchEvent(new Event("themechange"));
  }

  function choose(theme) {
    choice = theme;
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // the choice holds for this page only
    }
    show();
  }

  show();
  system.addEventListener("change", show);
  window.addEventListener("storage", ({ key, newValue }) => {
    if (key !== KEY) return;
    choice = newValue; // chosen in another tab
    show();
    document.getElementById("theme").value = choice || "system";
  });
  document.addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    select.value = choice || "system";
    select.addEventListener("change", () => choose(select.value));
  });
})();
