// Times in words that stay true while a page is open.

import { el } from "../../core/elements.js";
import { ago, duration } from "../../core/format.js";

// Returns how long ago a time was; refreshTimes() keeps it true.
export function since(text) {
  const node = ago(text);
  if (node instanceof Element) node.classList.add("since");
  return node;
}

// Returns in how long a time will be.
export function due(text) {
  const node = el("time", { datetime: text, class: "due", title: text }, dueText(text));
  return node;
}

export function refreshTimes(root) {
  for (const node of root.querySelectorAll("time.since")) setText(node, ago(node.dateTime).textContent);
  for (const node of root.querySelectorAll("time.due")) setText(node, dueText(node.dateTime));
}

function dueText(text) {
  const seconds = (new Date(text) - Date.now()) / 1000;
  return seconds < 1 ? "now" : `in ${duration(seconds)}`;
}

// A text that is selected must stay the same node, so nothing is written unless it has changed.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
