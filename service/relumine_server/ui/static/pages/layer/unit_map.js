// The map of units over steps: one row a unit, darker where it is active on more examples. A layer of many units is
// shown a range of units at a time.

import { hatch, mix, rgb } from "../../charts/canvas.js";
import { nearest } from "../../charts/scale.js";
import { get, path, withQuery } from "../../core/api.js";
import { el } from "../../core/elements.js";
import { count, share } from "../../core/format.js";
import { themeColours } from "../../core/states.js";

const UNITS_AT_A_TIME = 512;
const POINTS = 300;
const HEIGHT = { least: 120, most: 420 };
const NO_DATA = 255;
const FULL_RATE = 254; // the byte of an active rate of 1

// onChange is called when another range of units was chosen.
// onChoose is called with a unit whose row was clicked.
export function unitMap(address, signal, { onChange, onChoose }) {
  let map = null;
  let layer = null;
  let timeline = null;
  let first = 0;
  const range = el("span", { class: "quiet" });
  const previous = el("button", { type: "button", class: "small", click: () => move(-UNITS_AT_A_TIME) }, "Previous units");
  const next = el("button", { type: "button", class: "small", click: () => move(UNITS_AT_A_TIME) }, "Next units");
  const controls = el("div", { class: "actions", hidden: true }, previous, range, next);

  async function move(by) {
    first = Math.max(0, Math.min(layer.units - 1, first + by));
    await load(layer, timeline);
    onChange();
  }

  async function load(current, of) {
    layer = current;
    timeline = of;
    const [from, to] = timeline.zoom || [null, null];
    const query = {
      sort: "last_active",
      first_unit: first,
      units: UNITS_AT_A_TIME,
      points: POINTS,
      from_step: from && Math.floor(from),
      to_step: to && Math.ceil(to),
    };
    map = decodeMap(await get(withQuery(path(...address, "unit-map"), query), { signal }));
    controls.hidden = layer.units <= UNITS_AT_A_TIME;
    previous.disabled = first === 0;
    next.disabled = first + UNITS_AT_A_TIME >= layer.units;
    range.textContent = `Unit map: rows ${count(first + 1)} to ${count(Math.min(layer.units, first + UNITS_AT_A_TIME))} of ${count(layer.units)}`;
  }

  function lanes() {
    if (!map || !map.step.length) return [];
    const height = Math.max(HEIGHT.least, Math.min(HEIGHT.most, map.unit.length * 3));
    const rowAt = (y) => Math.max(0, Math.min(map.unit.length - 1, Math.floor((y / height) * map.unit.length)));
    return [
      {
        key: "units",
        title: "Units, the first to fall silent on top",
        titleVersion: "",
        height,
        draw: (context, view) => drawUnits(context, view, map, height),
        hover(step, y) {
          const row = rowAt(y);
          const column = nearest(map.step, step);
          const rate = rateAt(map, row, column);
          const text = rate === null ? "no data" : `active on ${share(rate)}`;
          return `unit ${count(map.unit[row])}, step ${count(map.step[column])}: ${text}`;
        },
        click: (step, y) => onChoose(map.unit[rowAt(y)]),
      },
    ];
  }

  return { controls, load, lanes };
}

// Returns the rates as bytes, row by row.
export function decodeMap(answer) {
  const rates = Uint8Array.from(atob(answer.active_rate), (character) => character.charCodeAt(0));
  return { step: answer.step, unit: answer.unit, rates };
}

// Returns the active rate of a row and column of a map, from 0 to 1, or null.
export function rateAt({ rates, step }, row, column) {
  const value = rates[row * step.length + column];
  return value === NO_DATA ? null : value / FULL_RATE;
}

function drawUnits(context, view, { step, rates, unit }, height) {
  const colours = themeColours("dead", "healthy", "accent", "no-data");
  const [silent, least, most] = [rgb(colours.dead), rgb(colours.healthy), rgb(colours.accent)];
  const shades = Array.from({ length: NO_DATA }, (_, value) =>
    value === 0 ? silent : mix(least, most, Math.sqrt(value / FULL_RATE)),
  );
  const columns = step.length;
  const image = context.createImageData(columns, unit.length);
  for (let row = 0; row < unit.length; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const value = rates[row * columns + column];
      const place = 4 * (row * columns + column);
      if (value === NO_DATA) continue;
      [image.data[place], image.data[place + 1], image.data[place + 2]] = shades[value];
      image.data[place + 3] = 255;
    }
  }
  hatch(context, colours["no-data"], 0, 0, view.width, height);
  const tile = el("canvas", { width: columns, height: unit.length });
  tile.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  // Steps are not equally far apart: each column of the picture reaches to the next step.
  for (let column = 0; column < columns; column += 1) {
    const left = view.toX(step[column]);
    const right = column + 1 < columns ? view.toX(step[column + 1]) : Math.min(view.width, left + view.width / columns);
    if (right < 0 || left > view.width) continue;
    context.drawImage(tile, column, 0, 1, unit.length, left, 0, Math.max(1, right - left), height);
  }
}
