// Scales and ticks of charts.

// Returns round values from low to high, at most about `wanted` of them.
export function ticks(low, high, wanted) {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return Number.isFinite(low) ? [low] : [];
  const rough = span / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const first = Math.ceil(low / step) * step;
  const values = [];
  for (let index = 0; first + index * step <= high + step * 1e-9; index += 1) values.push(first + index * step);
  return values;
}

// Returns powers of ten from low to high (both positive); where there are fewer than two, their multiples by 2 and 5.
export function logTicks(low, high, wanted) {
  const factors = Math.log10(high / low) < 2 ? [1, 2, 5] : [1];
  const values = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const factor of factors) values.push(factor * 10 ** power);
  }
  const inside = values.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  const every = Math.ceil(inside.length / wanted);
  return inside.filter((_, index) => index % every === 0);
}

export function linear(low, high, from, to) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

export function logarithmic(low, high, from, to) {
  const scale = linear(Math.log(low), Math.log(high), from, to);
  return (value) => scale(Math.log(value));
}

// Returns the index of the first element that is not below value, in a sorted array.
export function lowerBound(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Returns the index of the element nearest to value in a sorted array, -1 in an empty one.
export function nearest(sorted, value) {
  const index = lowerBound(sorted, value);
  if (index >= sorted.length) return sorted.length - 1;
  return index > 0 && value - sorted[index - 1] < sorted[index] - value ? index - 1 : index;
}
