"""Kernels of the object decoder, compiled by numba: cores, levels, growth, remaining components.

All of them are independent of order: pixels join objects in steps in which each reads its neighbours as they were
before the step, above, left, right and below in this order. So the objects do not depend on how a scene is cut.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.kernels import kernel

Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float64]

WHOLE = -(2**31) + 1
"""Seed of the pixels of a core that is too large to be separated."""

PENDING, SEPARATE, KEEP_WHOLE = range(3)
"""Decisions about a core."""

SIGNIFICANT = 1 << 48
"""Weight of a part that is an object of its own, see `separate_cores`."""

_DY = (-1, 0, 0, 1)
_DX = (0, -1, 1, 0)


# Cores


@kernel
def connect_pixels(key: Bytes, on: Bools) -> tuple[Ints, int]:
    """Number the 4-connected components of pixels of `on` with equal `key` from 1, by their first pixel.

    Returns the (h, w) numbers and how many there are.
    """
    height, width = key.shape
    ids = np.zeros((height, width), np.int32)
    parent = np.zeros(on.sum() + 1, np.int32)
    used = 1
    for y in range(height):
        for x in range(width):
            if not on[y, x]:
                continue
            left = ids[y, x - 1] if x and key[y, x - 1] == key[y, x] else 0
            above = ids[y - 1, x] if y and key[y - 1, x] == key[y, x] else 0
            if left and above and left != above:
                left, above = find_root(parent, left), find_root(parent, above)
                low = min(left, above)
                parent[max(left, above)] = low
                ids[y, x] = low
            elif left or above:
                ids[y, x] = max(left, above)
            else:
                parent[used] = used
                ids[y, x] = used
                used += 1
    count = 0
    for i in range(1, used):  # a parent precedes its children
        if parent[i] == i:
            count += 1
            parent[i] = count
        else:
            parent[i] = parent[parent[i]]
    for y in range(height):
        for x in range(width):
            ids[y, x] = parent[ids[y, x]]
    return ids, count


@kernel
def find_root(parent: Ints, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = int(parent[i])
    return i


@kernel
def decide_cores(
    cores: Ints, count: int, key: Bytes, seeds: Ints, largest: int, last: bool
) -> tuple[Bytes, int]:
    """Decide what becomes of each core of a window.

    Parameters
    ----------
    cores
        (h, w) numbers of the cores, 1 to `count`.
    key
        (h, w) keys that cores do not leave.
    seeds
        (h, w) seeds of the cores that were decided before.
    largest
        Largest number of rows or columns of a core that is separated.
    last
        True if the window ends at the bottom of the scene.

    Returns
    -------
    decisions
        (count + 1,) PENDING, SEPARATE or KEEP_WHOLE.
    known
        First row of a pending core; the height of the window without one.
    """
    height, width = cores.shape
    box = np.empty((count + 1, 4), np.int64)
    box[:, 0] = box[:, 2] = height + width
    box[:, 1] = box[:, 3] = -1
    decisions = np.full(count + 1, SEPARATE, np.uint8)
    for y in range(height):
        for x in range(width):
            core = cores[y, x]
            if not core:
                continue
            box[core, 0], box[core, 1] = min(box[core, 0], y), y
            box[core, 2], box[core, 3] = min(box[core, 2], x), max(box[core, 3], x)
            for k in range(4):
                v, u = y + _DY[k], x + _DX[k]
                if v < 0 or u < 0 or v >= height or u >= width:
                    continue
                if seeds[v, u] == WHOLE and key[v, u] == key[y, x]:
                    decisions[core] = KEEP_WHOLE
    known = height
    for core in range(1, count + 1):
        top, bottom, left, right = box[core]
        if max(bottom - top, right - left) >= largest:
            decisions[core] = KEEP_WHOLE
        elif bottom == height - 1 and not last and decisions[core] != KEEP_WHOLE:
            decisions[core] = PENDING
            known = min(known, top)
    return decisions, known


@kernel
def place_seeds(
    cores: Ints, decisions: Bytes, level_of: Bytes, energy: Bytes, labels: Bytes,
    weights: Longs, seeds: Ints, used: int,
) -> int:  # fmt: skip
    """Write the seeds of all cores that are decided, and return the last number in use.

    Parameters
    ----------
    cores
        (h, w) numbers of the cores; changed.
    decisions
        (cores + 1,) result of `decide_cores`.
    level_of
        (256,) index of the level of an energy; the highest level is 0.
    energy, labels
        (h, w).
    weights
        (256,) weight of a pixel by its label.
    seeds
        (h, w) numbers of the parts of cores, WHOLE in large cores; changed.
    used
        Number of the last part so far.
    """
    width = cores.shape[1]
    flat, of_pixel = cores.ravel(), seeds.ravel()
    energies, ids = energy.ravel(), labels.ravel()
    starts = np.zeros(len(decisions) + 1, np.int64)
    for pixel in range(len(flat)):
        if flat[pixel] and decisions[flat[pixel]] == SEPARATE:
            starts[flat[pixel] + 1] += 1
        elif flat[pixel] and decisions[flat[pixel]] == KEEP_WHOLE:
            of_pixel[pixel] = WHOLE
    starts = np.cumsum(starts)
    pixels = np.empty(starts[-1], np.int64)
    ends = starts.copy()
    for pixel in range(len(flat)):
        core = flat[pixel]
        if core and decisions[core] == SEPARATE:
            flat[pixel] = ends[core] - starts[core]  # from now on: position in its core
            pixels[ends[core]] = pixel
            ends[core] += 1
        else:
            flat[pixel] = -1
    for core in range(1, len(decisions)):
        own = pixels[starts[core] : ends[core]]
        if len(own) == 0:
            continue
        parts = separate_core(own, flat, width, level_of, energies, weights, ids)
        count = 1
        for k in range(len(own)):
            of_pixel[own[k]] = used + parts[k]
            count = max(count, parts[k])
        used += count
    return used


@kernel
def separate_core(
    pixels: Longs, position: Ints, width: int, level_of: Bytes, energy: Bytes, weights: Longs,
    labels: Bytes,
) -> Ints:  # fmt: skip
    """Number the parts of a core from 1.

    The core is read from the highest level down. Parts with the weight SIGNIFICANT stay objects of their own where
    they meet, others merge; the pixels of a level join the nearest part.

    pixels: (n,) of the core, row by row; position: of each pixel in its core, -1 for none.

    Notes
    -----
    Area opening of the component tree, Salembier et al. (1998), doi:10.1109/83.663500. Weights are fractions of the
    smallest area of a part, so that parts may hold several classes.
    """
    n = len(pixels)
    ids = np.ones(n, np.int32)
    weight_of, total = np.empty(n, np.int64), 0
    for k in range(n):
        weight_of[k] = weights[labels[pixels[k]]]
        total = min(2 * SIGNIFICANT, total + weight_of[k])
    if total < 2 * SIGNIFICANT:
        return ids
    near = find_neighbours(pixels, position, width)
    order, ends = sort_by_level(pixels, level_of, energy)
    ids[:] = 0
    parent = np.full(n, -1, np.int32)
    parts = active = 0
    for level in range(len(ends)):
        begin, active = active, ends[level]
        if begin == active:
            continue
        connect_level(order, begin, active, near, parent)
        parts = merge_parts(order[:active], parent, weight_of, ids, parts)
        flood(order[:active], near, parent, ids)
    return ids


@kernel
def find_neighbours(pixels: Longs, position: Ints, width: int) -> Ints:
    """Return (n, 4) positions of the neighbours of each pixel in its core, -1 for none."""
    n = len(pixels)
    near = np.full((n, 4), -1, np.int32)
    for k in range(n):
        pixel, x = pixels[k], pixels[k] % width
        for side in range(4):
            if x + _DX[side] < 0 or x + _DX[side] >= width:
                continue
            other = pixel + _DY[side] * width + _DX[side]
            if other < 0 or other >= len(position):
                continue
            place = position[other]
            if 0 <= place < n and pixels[place] == other:
                near[k, side] = place
    return near


@kernel
def sort_by_level(pixels: Longs, level_of: Bytes, energy: Bytes) -> tuple[Ints, Longs]:
    """Return the positions of a core's pixels, the highest level first, and where each level ends."""
    count = np.zeros(257, np.int64)
    for k in range(len(pixels)):
        count[level_of[energy[pixels[k]]] + 1] += 1
    at = np.cumsum(count)
    order = np.empty(len(pixels), np.int32)
    for k in range(len(pixels)):
        level = level_of[energy[pixels[k]]]
        order[at[level]] = k
        at[level] += 1
    return order, at[:-1]


@kernel
def connect_level(order: Ints, begin: int, end: int, near: Ints, parent: Ints) -> None:
    """Add pixels of a level to the components of the levels above."""
    for i in range(begin, end):
        parent[order[i]] = order[i]
    for i in range(begin, end):
        for side in range(4):
            other = near[order[i], side]
            if other >= 0 and parent[other] >= 0:
                one, two = find_root(parent, order[i]), find_root(parent, other)
                parent[max(one, two)] = min(one, two)


@kernel
def merge_parts(active: Ints, parent: Ints, weight_of: Longs, ids: Ints, parts: int) -> int:
    """Keep the significant parts of components with two or more of them; other components become one part each.

    Numbers the parts in `ids` anew and returns how many there are; pixels of components with several parts that belong
    to none of them become 0.
    """
    weight = np.zeros(parts + 1, np.int64)
    whole_of = np.zeros(parts + 1, np.int32)
    for k in active:
        part = ids[k]
        if part:
            weight[part] = min(SIGNIFICANT, weight[part] + weight_of[k])
            whole_of[part] = find_root(parent, k)
    significant = np.zeros(len(parent), np.int32)
    for part in range(1, parts + 1):
        significant[whole_of[part]] += weight[part] >= SIGNIFICANT
    number = np.zeros(parts + 1, np.int32)
    single = np.zeros(len(parent), np.int32)
    used = 0
    for part in range(1, parts + 1):
        if weight[part] >= SIGNIFICANT and significant[whole_of[part]] >= 2:
            used += 1
            number[part] = used
    for k in active:
        root = find_root(parent, k)
        if significant[root] >= 2:
            ids[k] = number[ids[k]]
            continue
        if not single[root]:
            used += 1
            single[root] = used
        ids[k] = single[root]
    return used


@kernel
def flood(active: Ints, near: Ints, parent: Ints, ids: Ints) -> None:
    """Let all pixels without a part join a neighbour's, step by step."""
    front = active[ids[active] == 0]
    while len(front):
        joined = np.empty((len(front), 2), np.int32)
        count = 0
        for k in front:
            for side in range(4):
                other = near[k, side]
                if other >= 0 and ids[other]:
                    joined[count, 0], joined[count, 1] = k, ids[other]
                    count += 1
                    break
        front = np.empty(4 * count, np.int32)
        beside = 0
        for i in range(count):
            ids[joined[i, 0]] = joined[i, 1]
        for i in range(count):
            for side in range(4):
                other = near[joined[i, 0], side]
                if other >= 0 and parent[other] >= 0 and not ids[other]:
                    front[beside] = other
                    beside += 1
        front = np.unique(front[:beside])


# Growth


@kernel
def grow(ids: Ints, key: Bytes, reach: int) -> None:
    """Grow objects in place into pixels of the same non-zero `key`.

    Parameters
    ----------
    ids
        (h, w) numbers of the objects; 0 can be entered.
    key
        (h, w) keys that objects do not leave; 0 is never entered.
    reach
        Steps of one pixel.

    Notes
    -----
    Odd steps go to eight neighbours and even ones to four, so that growth is nearly round. A pixel joins by a
    diagonal only together with a pixel between: objects stay 4-connected. A pixel depends on those at most two
    rows or columns away per step.
    """
    front = find_border(ids, key)
    for step in range(1, reach + 1):
        if len(front) == 0:
            return
        straight = join_straight(ids, key, front)
        if step % 2 == 0:
            front = straight
            continue
        for i in range(len(straight)):
            ids[straight[i, 0], straight[i, 1]] *= -1  # joined in this step
        diagonal = join_diagonal(ids, key, straight)
        for i in range(len(straight)):
            ids[straight[i, 0], straight[i, 1]] *= -1
        front = np.concatenate((straight, diagonal))


@kernel
def find_border(ids: Ints, key: Bytes) -> Ints:
    """Return (n, 2) rows and columns of object pixels beside one that can be entered."""
    height, width = ids.shape
    count = 0
    found = np.empty((256, 2), np.int32)
    for y in range(height):
        for x in range(width):
            if ids[y, x] <= 0:
                continue
            for side in range(4):
                v, u = y + _DY[side], x + _DX[side]
                if v < 0 or u < 0 or v >= height or u >= width:
                    continue
                if ids[v, u] == 0 and key[v, u] == key[y, x]:
                    if count == len(found):
                        found = np.concatenate((found, np.empty_like(found)))
                    found[count, 0], found[count, 1] = y, x
                    count += 1
                    break
    return found[:count]


@kernel
def join_straight(ids: Ints, key: Bytes, front: Ints) -> Ints:
    """Let neighbours of `front` join the first object beside them; return (n, 2) those that did."""
    return join(ids, key, front, False)


@kernel
def join_diagonal(ids: Ints, key: Bytes, front: Ints) -> Ints:
    """Let neighbours of `front`, pixels with negative numbers, join them along diagonals; return those that did."""
    return join(ids, key, front, True)


@kernel
def join(ids: Ints, key: Bytes, front: Ints, diagonal: bool) -> Ints:
    height, width = ids.shape
    found = np.empty((4 * len(front), 3), np.int32)
    count = 0
    for i in range(len(front)):
        for side in range(4):
            y, x = front[i, 0] + _DY[side], front[i, 1] + _DX[side]
            if y < 0 or x < 0 or y >= height or x >= width or ids[y, x] or not key[y, x]:
                continue
            value = diagonal_id(ids, key, y, x) if diagonal else straight_id(ids, key, y, x)
            if value:
                found[count, 0], found[count, 1], found[count, 2] = y, x, value
                count += 1
    joined = np.empty((count, 2), np.int32)
    used = 0
    for i in range(count):
        if not ids[found[i, 0], found[i, 1]]:
            ids[found[i, 0], found[i, 1]] = found[i, 2]
            joined[used, 0], joined[used, 1] = found[i, 0], found[i, 1]
            used += 1
    return joined[:used]


@kernel
def straight_id(ids: Ints, key: Bytes, y: int, x: int) -> int:
    """Return the number of the first object beside a pixel, or 0."""
    for side in range(4):
        v, u = y + _DY[side], x + _DX[side]
        if v < 0 or u < 0 or v >= ids.shape[0] or u >= ids.shape[1]:
            continue
        if ids[v, u] > 0 and key[v, u] == key[y, x]:
            return int(ids[v, u])
    return 0


@kernel
def diagonal_id(ids: Ints, key: Bytes, y: int, x: int) -> int:
    """Return the number of the first object that a pixel joins along a diagonal, or 0.

    The pixel between has joined in this step (its number is negative), the diagonal one before.
    """
    height, width = ids.shape
    for side in range(4):
        v, u = y + _DY[side], x + _DX[side]
        if v < 0 or u < 0 or v >= height or u >= width:
            continue
        if ids[v, u] >= 0 or key[v, u] != key[y, x]:
            continue
        for turn in (-1, 1):
            q, r = v + turn * abs(_DX[side]), u + turn * abs(_DY[side])
            if 0 <= q < height and 0 <= r < width and ids[q, r] == -ids[v, u]:
                return int(ids[q, r])
    return 0


# Remaining components, and what is counted


@kernel
def connect_remaining(
    ids: Ints, labels: Bytes, above: Ints, labels_above: Bytes, parent: Ints, used: int
) -> int:
    """Give pixels of classes without an object the numbers -1, -2, … of their 4-connected component of a class.

    Parameters
    ----------
    ids
        (h, w) numbers of objects; changed.
    labels
        (h, w) class IDs; 0 and 255 belong to no component.
    above, labels_above
        (w,) the row above, with 0 above the scene.
    parent
        Forest of the components, without signs, with room for `ids.size` more; changed.
    used
        Number of the last component so far; the last one in use is returned.
    """
    height, width = ids.shape
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if ids[y, x] > 0:
                continue
            ids[y, x] = 0
            if label in (0, 255):
                continue
            left = -ids[y, x - 1] if x and labels[y, x - 1] == label else 0
            over = 0
            if y:
                over = -ids[y - 1, x] if labels[y - 1, x] == label else 0
            elif labels_above[x] == label:
                over = -above[x]
            one = find_root(parent, left) if left > 0 else 0
            two = find_root(parent, over) if over > 0 else 0
            if one and two:
                parent[max(one, two)] = min(one, two)
                ids[y, x] = -min(one, two)
            elif one or two:
                ids[y, x] = -max(one, two)
            else:
                used += 1
                parent[used] = used
                ids[y, x] = -used
    return used


@kernel
def measure_objects(
    ids: Ints, energy: Bytes, row_area: Floats, first: int, sign: int,
    pixels: Longs, start: Longs, peak: Bytes, area: Floats,
) -> None:  # fmt: skip
    """Add the pixels of rows to the measures of their objects.

    Parameters
    ----------
    ids
        (h, w) numbers of objects; those with another sign than `sign` are not measured.
    energy
        (h, w).
    row_area
        (h,) area of a pixel; empty to measure none.
    first
        Number of the first pixel in the scene, row by row.
    pixels, start, peak, area
        (objects + 1,) number of pixels, first pixel, highest energy and area of each object; changed.
    """
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            i = ids[y, x] * sign
            if i <= 0:
                continue
            if pixels[i] == 0:
                start[i] = first + y * ids.shape[1] + x
            pixels[i] += 1
            peak[i] = max(peak[i], energy[y, x])
            if len(row_area) > 0:
                area[i] += row_area[y]


@kernel
def count_labels(ids: Ints, labels: Bytes, base: int, votes: Ints) -> None:
    """Add the labels of objects from number `base` on to `votes` (objects, classes)."""
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            if ids[y, x] > 0:
                votes[ids[y, x] - base, labels[y, x]] += 1


@kernel
def describe_remaining(
    ids: Ints, labels: Bytes, whole: Bools, class_id: Bytes, large: Bools
) -> None:
    """Write the class of each component with a negative number, and whether it has pixels of a large core."""
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            if ids[y, x] < 0:
                class_id[-ids[y, x]] = labels[y, x]
                large[-ids[y, x]] |= whole[y, x]


@kernel
def merge_measures(
    parent: Ints, pixels: Longs, start: Longs, peak: Bytes, area: Floats, large: Bools
) -> None:
    """Add the measures of the components of a forest to their roots, and let `parent` be the root of each."""
    for i in range(1, len(pixels)):
        root = find_root(parent, i)
        parent[i] = root
        if root != i:
            pixels[root] += pixels[i]
            start[root] = min(start[root], start[i])
            peak[root] = max(peak[root], peak[i])
            if len(area) == len(pixels):
                area[root] += area[i]
            large[root] |= large[i]


@kernel
def renumber(
    ids: Ints, parts: NDArray[np.uint32], others: NDArray[np.uint32]
) -> NDArray[np.uint32]:
    """Return (h, w) final IDs from provisional ones, positive for `parts` and negative for `others`."""
    out = np.empty(ids.shape, np.uint32)
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            value = ids[y, x]
            out[y, x] = parts[value] if value >= 0 else others[-value]
    return out
