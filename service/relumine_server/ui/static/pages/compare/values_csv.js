// What the charts of a comparison show, as a table: a row for each run and step.

const COLUMNS = ["run_id", "step", "lost_fraction_of_worst_layer", "loss", "learning_rate"];

// worst has the {step, value} of the worst layer of each entry.
export function valuesCsv(entries, worst) {
  const rows = entries.flatMap((entry) => rowsOf(entry, worst.get(entry)));
  return [COLUMNS, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
}

function rowsOf({ id, overview }, lost) {
  const { step, loss, learning_rate: rate } = overview.run_trace;
  const lostAt = byStep(lost.step, lost.value);
  const lossAt = byStep(step, loss);
  const rateAt = byStep(step, rate);
  const steps = [...new Set([...step, ...lost.step])].sort((a, b) => a - b);
  return steps.map((at) => [id, at, lostAt.get(at), lossAt.get(at), rateAt.get(at)]);
}

function byStep(step, value) {
  return new Map(step.map((at, index) => [at, value[index]]));
}

// An id that begins like a formula would be one in a spreadsheet.
function cell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  const plain = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}
