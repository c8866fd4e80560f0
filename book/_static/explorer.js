// A network of rotation circuits in superposition, in the reader's browser.
// The names are those of the package cisp; tests/test_explorer.py holds the two together.
'use strict'
document.documentElement.classList.add('explorer-runs')

// ---- The arithmetic ---------------------------------------------------------------------------

const d = 4
const b = [-0.5, -1.5, -1, -1]
const INPUTS = 48

const isPrime = k => {
  for (let f = 2; f * f <= k; f++) if (k % f === 0) return false
  return k > 1
}

// All rows of S positions that cisp.prime_steps can place, in its order (5.21, 5.22).
function primeSteps(n, S) {
  const rows = []
  const largest = S === 1 ? 1 : Math.floor((n - 1) / (S - 1))
  for (let first = 1; first <= largest; first++) {
    let free = true
    for (let p = 2; p < S; p++) if (isPrime(p) && first % p === 0) free = false
    if (!free) continue
    for (let step = first; step <= largest; step = S === 1 || isPrime(S) ? Infinity : step * S)
      for (let shift = 0; shift < step; shift++)
        for (let start = shift; start < n - (S - 1) * step; start += S * step)
          rows.push(Array.from({length: S}, (_, s) => start + s * step))
  }
  return rows
}

// Numbers in [0, 1) from a seed: the generator mulberry32.
function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let k = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    k = (k + Math.imul(k ^ (k >>> 7), 61 | k)) ^ k
    return ((k ^ (k >>> 14)) >>> 0) / 4294967296
  }
}

// `count` of the numbers 0..size-1 without repetition, in random order (Fisher and Yates).
function draw(count, size, random) {
  const all = Array.from({length: size}, (_, k) => k)
  for (let k = 0; k < count; k++) {
    const other = k + Math.floor(random() * (size - k))
    ;[all[k], all[other]] = [all[other], all[k]]
  }
  return all.slice(0, count)
}

// The weights of a circuit that rotates by theta while it is on (5.2).
function weights(theta) {
  const c = Math.cos(theta), s = Math.sin(theta)
  return [2, -2, 0, 0, 2, -2, 0, 0, 2 - (c - s), c - s - 2, c, -s, 2 - (s + c), s + c - 2, s, c]
}

// The network of the circuits with angles theta on tables[l-1], T rows of S positions, for layer l.
// again[l-1]: row, column and number of uses beyond the first of each entry of the embedding matrix
// that more than one circuit uses. chi solves 5.24.
function superpose(theta, tables, n) {
  const T = theta.length, S = tables[0][0].length
  const w = theta.map(weights)
  const wMean = w[0].map((_, k) => w.reduce((sum, row) => sum + row[k], 0) / T)
  const loads = tables.map(table => {
    const load = new Float64Array(n)
    for (const row of table) for (const p of row) load[p]++
    return load
  })
  const chi = [0], again = [[]]
  for (let l = 1; l < tables.length; l++) {
    const used = new Uint16Array(n * n), more = []
    for (let t = 0; t < T; t++)
      for (const q of tables[l][t]) for (const p of tables[l - 1][t]) used[q * n + p]++
    let M = -T * S * S
    for (let q = 0; q < n; q++)
      for (let p = 0; p < n; p++) {
        const times = used[q * n + p]
        if (times) M += loads[l][q] * loads[l - 1][p]
        if (times > 1) more.push(q, p, times - 1)
      }
    chi.push(T > 1 ? M / (S * (T * (T - 1) * S * S - M)) : 0)
    again.push(Int32Array.from(more))
  }
  return {n, T, S, tables, w, wMean, chi, again}
}

// All activations A^0..A^L, each d blocks of n, for the active circuits with inputs a0 (5.17, 5.25).
function forward(network, active, a0) {
  const {n, tables, w} = network
  const A = [new Float64Array(d * n)]
  active.forEach((t, k) => {
    for (let i = 0; i < d; i++) {
      let value = 0
      for (let j = 0; j < d; j++) value += w[t][i * d + j] * a0[k][j]
      for (const p of tables[0][t]) A[0][i * n + p] += value
    }
  })
  A.push(A[0].map((value, k) => Math.max(0, value + b[Math.floor(k / n)])))
  for (let l = 1; l < tables.length; l++) A.push(next(network, l, A[l]))
  return A
}

// The layer made with tables[l] and tables[l-1], as the class Network explains: the circuits with
// (w_t/S + chi w_mean), what they count twice taken back, and -chi everywhere.
function next({n, T, S, tables, w, wMean, chi, again}, l, A) {
  const mean = new Float64Array(d * n), out = new Float64Array(d * n), g = [0, 0, 0, 0]
  for (let i = 0; i < d; i++) {
    let total = 0
    for (let p = 0; p < n; p++) {
      for (let j = 0; j < d; j++) mean[i * n + p] += wMean[i * d + j] * A[j * n + p]
      total += mean[i * n + p]
    }
    out.fill(b[i] - chi[l] * total, i * n, (i + 1) * n)
    const more = again[l], capped = 1 / S + chi[l]
    for (let k = 0; k < more.length; k += 3)
      out[i * n + more[k]] -= more[k + 2] * capped * mean[i * n + more[k + 1]]
  }
  for (let t = 0; t < T; t++) {
    for (let i = 0; i < d; i++) {
      g[i] = 0
      for (const p of tables[l - 1][t]) g[i] += A[i * n + p]
    }
    if (!g[0] && !g[1] && !g[2] && !g[3]) continue
    for (let i = 0; i < d; i++) {
      let value = 0
      for (let j = 0; j < d; j++) value += (w[t][i * d + j] / S + chi[l] * wMean[i * d + j]) * g[j]
      for (const p of tables[l][t]) out[i * n + p] += value
    }
  }
  for (let k = 0; k < d * n; k++) if (out[k] < 0) out[k] = 0
  return out
}

// The estimate of the rotating vector of circuit t in layer l (5.30 to 5.32).
function estimate({n, S, tables}, A, l, t) {
  const a = [0, 0, 0, 0]
  for (const p of tables[l - 1][t]) for (let i = 0; i < d; i++) a[i] += A[l][i * n + p] / S
  return [a[2] - (a[0] - a[1]), a[3] - (a[0] - a[1])]
}

// One network of the given sizes, run on `inputs` random inputs: by layer, the mean squared error
// of active circuits and the mean number of neurons on; and the first input with its activations.
function experiment({D, T, S, z, seed}, L = 5, inputs = INPUTS) {
  const n = D / d, random = generator(seed), rows = primeSteps(n, S).slice(0, T)
  const theta = rows.map(() => 2 * Math.PI * random())
  const tables = Array.from({length: L}, () => draw(T, T, random).map(t => rows[t]))
  const network = superpose(theta, tables, n)
  const mse = Array(L).fill(0), on = Array(L).fill(0)
  let first
  for (let k = 0; k < inputs; k++) {
    const active = draw(z, T, random), angles = active.map(() => 2 * Math.PI * random())
    const a0 = angles.map(angle => [1.5, 0.5, 1 + Math.cos(angle), 1 + Math.sin(angle)])
    const A = forward(network, active, a0)
    first ??= {A, active}
    for (let l = 1; l <= L; l++) {
      for (const value of A[l]) if (value > 1e-4) on[l - 1] += 1 / inputs
      active.forEach((t, which) => {
        const [x0, x1] = estimate(network, A, l, t), angle = angles[which] + l * theta[t]
        mse[l - 1] += ((x0 - Math.cos(angle)) ** 2 + (x1 - Math.sin(angle)) ** 2) / (z * inputs)
      })
    }
  }
  return {network, mse, on, ...first}
}

// ---- The page ---------------------------------------------------------------------------------

const D_STEP = 40
const LIMITS = {D: [200, 1600], T: [5, 2500], S: [1, 10], z: [1, 5], seed: [0, 99]}
const SETTINGS = {
  calm: {D: 1000, T: 200, S: 6, z: 1, seed: 0},
  onset: {D: 1000, T: 350, S: 6, z: 1, seed: 0},
  seizure: {D: 1000, T: 557, S: 6, z: 1, seed: 0},
}
const get = name => document.getElementById('explorer-' + name)
const most = ({D, S}) => Math.min(primeSteps(D / d, S).length, LIMITS.T[1])

// The setting nearest to the one asked for that can be run.
function allowed(wanted) {
  const setting = {...SETTINGS.seizure}
  for (const [name, [low, high]] of Object.entries(LIMITS)) {
    const value = Math.round(Number(wanted[name] ?? setting[name]))
    setting[name] = Math.min(high, Math.max(low, value || 0))
  }
  setting.D -= setting.D % D_STEP
  setting.T = Math.min(setting.T, most(setting))
  return setting
}

let share = 1 // T as a part of the circuits that fit: kept when D or S changes

function start() {
  for (const [name, [low, high]] of Object.entries(LIMITS)) {
    const slider = get(name)
    Object.assign(slider, {min: low, max: high, step: name === 'D' ? D_STEP : 1})
    slider.addEventListener('input', () => {
      const wanted = Object.fromEntries(Object.keys(LIMITS).map(k => [k, get(k).valueAsNumber]))
      if (name === 'D' || name === 'S') wanted.T = Math.round(share * most(wanted))
      choose(allowed(wanted))
    })
  }
  for (const name of Object.keys(SETTINGS))
    get(name).addEventListener('click', () => choose(SETTINGS[name]))
  // A hash without = is a place on the page, not a setting.
  const given = () => location.hash.includes('=')
  const fromAddress = () => allowed(Object.fromEntries(new URLSearchParams(location.hash.slice(1))))
  addEventListener('hashchange', () => {
    clearTimeout(saving)
    if (given()) schedule(fromAddress())
  })
  const redraw = () => { prepare(); update(waiting ?? latest) } // at once: a print waits for no frame
  latest = fromAddress() // drawn when the map is first observed
  new ResizeObserver(redraw).observe(get('map'))
  new MutationObserver(redraw).observe(document.documentElement, {attributeFilter: ['data-theme']})
}

// What the reader chooses goes into the address too, but not at each step of a slider: browsers
// refuse to change it so often.
let saving
function choose(setting) {
  schedule(setting)
  clearTimeout(saving)
  saving = setTimeout(() => history.replaceState(null, '', '#' + new URLSearchParams(setting)), 300)
}

// What only changes with the window or the theme: the canvases' sizes and two colours.
let strips, colors
function prepare() {
  const style = getComputedStyle(get('map'))
  colors = ['--asked', '--stray'].map(name => style.getPropertyValue(name))
  strips = [...document.querySelectorAll('#explorer-map canvas')]
  const sizes = strips.map(canvas => [canvas.clientWidth, canvas.clientHeight])
  strips.forEach((canvas, k) => {
    ;[canvas.width, canvas.height] = sizes[k].map(side => Math.round(side * devicePixelRatio))
  })
}

// At most one update for each frame, with the latest setting.
let waiting
function schedule(setting) {
  if (!waiting)
    requestAnimationFrame(() => {
      const now = waiting
      waiting = undefined
      update(now)
    })
  waiting = setting
}

let latest
function update(setting) {
  latest = setting
  const capacity = most(setting)
  if (setting.T !== Math.round(share * capacity)) share = setting.T / capacity
  get('T').max = capacity
  for (const name of Object.keys(LIMITS)) {
    get(name).value = setting[name]
    get(name + '-value').textContent = setting[name]
  }
  get('T-value').textContent = `${setting.T} of ${capacity} that ${capacity < LIMITS.T[1] ? 'fit' : 'run here'}`
  for (const name of Object.keys(SETTINGS))
    get(name).ariaPressed = Object.keys(LIMITS).every(k => SETTINGS[name][k] === setting[k])
  const result = experiment(setting), asked = setting.z * setting.S * d
  get('status').textContent =
    `${asked} of ${setting.D} neurons should be on. On average over ${INPUTS} inputs, layer by layer, ` +
    `${result.on.map(count => count.toFixed(0)).join(', ')} are.`
  get('rows').replaceChildren(...result.mse.map((error, k) => {
    const row = document.createElement('tr')
    for (const text of [k + 1, shown(error), result.on[k].toFixed(1), asked])
      row.insertCell().textContent = text
    return row
  }))
  plot(get('error'), result.mse, 1, 'guessing', 1e-3, 100)
  plot(get('activity'), result.on.map(count => count / setting.D), asked / setting.D, 'asked')
  map(setting, result)
}

const shown = error => (error < 1e-9 ? '0' : error < 1e-3 ? '< 0.001' : String(+error.toPrecision(2)))

// Dots by layer above a dashed line: from 0 to 1, or on a logarithmic scale from low to high.
function plot(svg, values, line, name, low = 0, high = 1) {
  const log = low > 0, ticks = log ? [0.001, 0.01, 0.1, 1, 10, 100] : [0, 0.25, 0.5, 0.75, 1]
  const scale = value => (log ? Math.log(Math.max(value, low) / low) / Math.log(high / low) : value)
  const x = k => 58 + 68 * k, y = value => 196 - 176 * Math.min(1, scale(value))
  const label = value => (log ? shown(value) : String(+value.toPrecision(2)))
  const text = (kind, left, top, words) => `<text class="${kind}" x="${left}" y="${top}">${words}</text>`
  const across = (kind, top) => `<path class="${kind}" d="M40 ${top}H346"/>`
  svg.innerHTML =
    ticks.map(v => across('grid', y(v)) + text('tick', 36, y(v) + 5, v)).join('') +
    across('line', y(line)) + text('name', 350, y(line) + 5, name) +
    `<polyline class="path" points="${values.map((v, k) => `${x(k)},${y(v)}`).join(' ')}"/>` +
    values.map((v, k) =>
      `<circle class="dot" cx="${x(k)}" cy="${y(v)}" r="4.5"/>` +
      text('value', x(k), y(v) - 10, label(v)) + text('layer', x(k), 216, k + 1)).join('') +
    text('tick', 36, 216, 'layer')
  svg.setAttribute('aria-label', `${svg.dataset.title}: ` + values.map((value, k) =>
    `layer ${k + 1}: ${label(value)}`).join(', '))
}

// A strip for each layer: a row for each block, a column for each position; what is on is filled.
function map({D}, {network, A, active}) {
  const n = D / d
  strips.forEach((canvas, k) => {
    const paint = canvas.getContext('2d'), width = canvas.width / n, height = canvas.height / d
    paint.clearRect(0, 0, canvas.width, canvas.height)
    const asked = new Set(active.flatMap(t => network.tables[k][t]))
    const counts = [0, 0]
    A[k + 1].forEach((value, neuron) => {
      if (value <= 1e-4) return
      const i = Math.floor(neuron / n), p = neuron % n, wanted = asked.has(p)
      counts[wanted ? 0 : 1]++
      paint.fillStyle = colors[wanted ? 0 : 1]
      paint.fillRect(p * width, i * height + 0.5, Math.max(1, width - 0.3), height - 1)
    })
    const text = `${counts[0]} of ${asked.size * d} asked for, ${counts[1]} not`
    canvas.ariaLabel = `Layer ${k + 1}, neurons on: ${text}`
    canvas.nextElementSibling.textContent = text
  })
}

if (document.currentScript.dataset.page) addEventListener('DOMContentLoaded', start)
