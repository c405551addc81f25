// The modules of each page, and which page an address names.

const modules = JSON.parse(document.getElementById("page-modules").textContent);

// Returns the name of the page at an address: of "#/runs/r1" it is "run".
export function pageName([section = "runs", id, subsection]) {
  if (section === "alerts") return id ? "alert" : "alerts";
  if (section !== "runs" || !id) return section;
  return subsection === "layers" ? "layer" : "run";
}

// Asks for all modules of a page at once: a browser finds out about one only when the module that imports it is there.
export function preload(name) {
  for (const module of modules[name] || []) {
    const link = document.createElement("link");
    link.rel = "modulepreload";
    link.href = new URL(`../${module}`, import.meta.url).href;
    document.head.append(link);
  }
  modules[name] = [];
}
