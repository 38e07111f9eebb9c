import numpy as np
import pytest
from keras import ops
from scipy import stats

from small_vit.layers.counter_random import bernoulli, make_key, random_bits, uniform


def bits(seed, *counters, shape=(64, 1024)):
    return ops.convert_to_numpy(random_bits(make_key(seed, *counters), shape)).view("uint32")


def reference_mix(x, key=0):
    """The hash in Python's own integers, one at a time."""
    x = (((x ^ x >> 17) * 0xED5AD4BB) & 0xFFFFFFFF) ^ key
    x = ((x ^ x >> 11) * 0xAC4C1B51) & 0xFFFFFFFF
    x = ((x ^ x >> 15) * 0x31848BAB) & 0xFFFFFFFF
    return x ^ x >> 14


def reference_bits(seed, counter, positions):
    first = reference_mix(seed)
    second = reference_mix(first ^ 0x9E3779B9)
    first = reference_mix((first + counter) & 0xFFFFFFFF, second)
    second = reference_mix(second ^ first)
    return [reference_mix((position + first) & 0xFFFFFFFF, second) for position in positions]


@pytest.mark.parametrize("seed", [0, 1, 123456789, 2**31, 2**32 - 1])
def test_bits_equal_a_reference_in_pythons_integers(seed):
    found = bits(seed, 7, shape=(3, 5)).ravel()

    assert found.tolist() == reference_bits(seed, 7, range(15))


def test_positions_of_a_stream_do_not_collide():
    # Each stream is a permutation of the 32-bit integers.
    assert len(np.unique(bits(4, 2))) == 64 * 1024


@pytest.mark.parametrize("shift", [0, 8, 16, 24])
def test_each_byte_is_uniform(shift):
    counts = np.bincount((bits(3, 5).ravel() >> shift) & 255, minlength=256)

    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, 0), (1, 1)),  # two steps of one layer
        ((1, 0), (2, 0)),  # one step of two layers
        ((1, 0, 0), (1, 0, 1)),  # two draws of one step
        ((1, 2), (2, 1)),  # counters do not stand in for one another
    ],
)
def test_streams_are_independent(one, other):
    first, second = bits(*one), bits(*other)

    # Bit by bit, at equal positions and at neighbouring ones.
    for moved in (0, 1, 1024):
        differing = 32 * np.unpackbits((first ^ np.roll(second, moved)).view("uint8")).mean()
        assert differing == pytest.approx(16, abs=0.06)  # five standard errors
    # The streams of a plain counter would be one sequence, shifted.
    assert len(np.intersect1d(first, second)) < 5


def test_positions_are_independent():
    unit = ops.convert_to_numpy(uniform(make_key(11, 4), (300, 1000))).astype("float64") - 0.5

    for axis in (0, 1):
        for distance in (1, 2, 144):
            moved = np.roll(unit, distance, axis)
            correlation = (unit * moved).mean() * 12
            assert abs(correlation) < 5 / np.sqrt(unit.size)


def test_neighbours_fall_together_as_often_as_chance_has_it():
    """Over many keys the deviations at each distance are the binomial's, no more and no less."""
    size, deviations = 100_000, []
    for seed in range(40):
        bins = (bits(seed, 3, shape=(size,)) >> 7).astype("int64") * 25 >> 25
        for distance in range(1, 6):
            together = (bins[distance:] == bins[:-distance]).mean()
            deviations.append((together - 0.04) / np.sqrt(0.04 * 0.96 / size))

    assert np.std(deviations) == pytest.approx(1, abs=0.2)  # four standard errors
    assert abs(np.mean(deviations)) < 0.3


def test_many_steps_have_no_common_position_bias():
    kept = np.stack(
        [
            ops.convert_to_numpy(bernoulli(make_key(9, step), (1000,), 0.1)).astype("float64")
            for step in range(400)
        ]
    )

    # Each position is dropped as often as the binomial says, over the steps.
    spread = kept.sum(0).var() / (400 * 0.1 * 0.9)
    assert spread == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("probability", [0.0, 0.01, 0.1, 0.5, 0.9])
def test_bernoulli_meets_its_probability(probability):
    share = ops.convert_to_numpy(bernoulli(make_key(2, 3), (1000, 1000), probability)).mean()

    error = 5 * np.sqrt(probability * (1 - probability) / 1e6)
    assert share == pytest.approx(probability, abs=error + 1e-12)


def test_uniform_fills_its_range():
    values = ops.convert_to_numpy(uniform(make_key(2, 3), (100000,), -3.0, 5.0))

    assert values.min() >= -3 and values.max() < 5
    assert stats.kstest(values, stats.uniform(-3, 8).cdf).pvalue > 1e-4
