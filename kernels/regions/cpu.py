"""The compiled loops of `growing`."""

import heapq

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _root(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def grow(a, b, strength, count, scale, least):
    parent = np.arange(count, dtype=np.int32)
    size = np.ones(count, np.int32)
    inside = np.zeros(count, np.float32)
    for last in range(2):
        for e in range(len(a)):
            p, q = _root(parent, a[e]), _root(parent, b[e])
            if p == q:
                continue
            s = strength[e]
            if last:
                joined = min(size[p], size[q]) < least
            else:
                joined = s <= min(inside[p] + scale / np.float32(size[p]), inside[q] + scale / np.float32(size[q]))
            if joined:
                parent[q] = p
                size[p] += size[q]
                inside[p] = max(s, max(inside[p], inside[q]))
    number, label = np.full(count, -1, np.int32), np.empty(count, np.int32)
    regions = 0
    for k in range(count):
        root = _root(parent, k)
        if number[root] < 0:
            number[root] = regions
            regions += 1
        label[k] = number[root]
    return label


@njit(cache=True, nogil=True)
def flood(labels, right, down):
    h, w = labels.shape
    best = np.full((h, w), np.float32(1e30), np.float32)
    queue = [(np.float32(0), np.int32(0), np.int32(0), np.int32(0))]
    queue.clear()
    for y in range(h):
        for x in range(w):
            if labels[y, x] >= 0:
                best[y, x] = 0
                border = False
                for d in range(4):
                    v, u = y + (d == 0) - (d == 1), x + (d == 2) - (d == 3)
                    if 0 <= v < h and 0 <= u < w and labels[v, u] < 0:
                        border = True
                if border:
                    queue.append((np.float32(0), np.int32(y), np.int32(x), np.int32(labels[y, x])))
    heapq.heapify(queue)
    while queue:
        cost, row, column, label = heapq.heappop(queue)
        if cost > best[row, column]:
            continue
        labels[row, column] = label
        for d in range(4):
            below, beside = row + (d == 0) - (d == 1), column + (d == 2) - (d == 3)
            if below < 0 or beside < 0 or below >= h or beside >= w:
                continue
            step = down[min(row, below), column] if d < 2 else right[row, min(column, beside)]
            total = cost + max(step, np.float32(1e-9))
            if total < best[below, beside]:
                best[below, beside] = total
                heapq.heappush(queue, (total, np.int32(below), np.int32(beside), label))


@njit(cache=True, nogil=True)
def totals(labels, values, sums):
    for c in range(values.shape[0]):
        for p in range(len(labels)):
            sums[labels[p], c] += values[c, p]
