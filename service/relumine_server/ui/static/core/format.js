// Formats of values. Each function returns text, or an element where a title holds the exact value.

import { el } from "./elements.js";

const UNITS_S = [
  ["d", 86400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];

const BETWEEN_THOUSANDS = /\B(?=(\d{3})+$)/g;

// Formats a number with commas. Intl is not used: its first number takes a browser a tenth of a second.
export function count(value) {
  if (value === null || value === undefined) return "–";
  const [integer, fraction] = String(value).split(".");
  const grouped = integer.replace(BETWEEN_THOUSANDS, ",");
  return fraction === undefined ? grouped : `${grouped}.${fraction.slice(0, 3)}`;
}

export function number(value) {
  if (value === null || value === undefined) return "–";
  const needsExponent = Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3);
  return needsExponent ? value.toExponential(2).replace("e+", "e") : String(Number(value.toPrecision(4)));
}

// Returns a share in [0, 1] as a percentage. What is not 0 never reads "0%".
export function share(value) {
  if (value === null || value === undefined) return "–";
  const percent = value * 100;
  if (percent > 0 && percent < 0.1) return "<0.1%";
  return `${percent > 0 && percent < 1 ? percent.toFixed(1) : Math.round(percent)}%`;
}

// Returns "1 layer" or "3 layers".
export function counted(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  const index = UNITS_S.findIndex(([, size]) => seconds >= size);
  if (index < 0) return "0 s";
  const [unit, size] = UNITS_S[index];
  const units = Math.floor(seconds / size);
  const next = UNITS_S[index + 1];
  const rest = next && units < 10 ? Math.floor((seconds - units * size) / next[1]) : 0;
  return rest ? `${units} ${unit} ${rest} ${next[0]}` : `${units} ${unit}`;
}

// Returns how long ago a time was, with the exact time as its title; times in the future read as dates.
export function ago(text) {
  if (!text) return "–";
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return text;
  return el("time", { class: "ago", datetime: text, title: exact(time) }, nearOrDate(time));
}

// Updates the times that ago() made inside of an element: they grow while the element stays.
export function refreshAgo(root) {
  for (const node of root.querySelectorAll("time.ago")) {
    const text = nearOrDate(new Date(node.dateTime));
    if (node.textContent !== text) node.firstChild.data = text; // a selection stays
  }
}

// Keeps the times on the page true between two answers of the server, and the more so without an answer.
export function startAgo() {
  const refresh = () => {
    if (!document.hidden) refreshAgo(document);
  };
  setInterval(refresh, 1000);
  document.addEventListener("visibilitychange", refresh);
}

function nearOrDate(time) {
  const seconds = (Date.now() - time.getTime()) / 1000;
  const isNear = seconds > -60 && seconds < 30 * 86400;
  return isNear ? agoText(seconds) : time.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}

function agoText(seconds) {
  if (seconds < 2) return "now";
  return `${duration(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

export function moment(text) {
  if (!text) return "–";
  const time = new Date(text);
  if (Number.isNaN(time.getTime())) return text;
  return el("time", { datetime: text, title: exact(time) }, time.toLocaleString("en-GB"));
}

function exact(time) {
  return `${time.toISOString().replace("T", " ").slice(0, 19)} UTC`;
}
