// A network of rotation circuits in superposition, in the reader's browser.
// The names are those of the package cisp; tests/test_explorer.py holds the two together.
'use strict'
document.documentElement.classList.add('explorer-runs')

// ---- The arithmetic ---------------------------------------------------------------------------

const d = 4
const b = [-0.5, -1.5, -1, -1]

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
// again[l-1]: how often each entry of the embedding matrix is used beyond once; chi solves 5.24.
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
    for (let entry = 0; entry < n * n; entry++) {
      const q = Math.floor(entry / n), p = entry % n
      if (used[entry]) M += loads[l][q] * loads[l - 1][p]
      if (used[entry] > 1) more.push([q, p, used[entry] - 1])
    }
    chi.push(T > 1 ? M / (S * (T * (T - 1) * S * S - M)) : 0)
    again.push(more)
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
    for (const [q, p, times] of again[l])
      out[i * n + q] -= times * (1 / S + chi[l]) * mean[i * n + p]
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
function experiment({D, T, S, z, seed}, L = 5, inputs = 48) {
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
