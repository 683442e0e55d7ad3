"""The diagrams of RoPE and of the ring come from the code and say what the lesson says."""

import math

import demo_rotation_and_ring
import pytest


def test_the_product_depends_on_the_distance_alone_and_is_the_lessons():
    products = [float(demo_rotation_and_ring.turned(demo_rotation_and_ring.QUERY, t) @ demo_rotation_and_ring.turned(
        demo_rotation_and_ring.KEY, s)) for t, s in demo_rotation_and_ring.PLACES]
    assert products[0] == pytest.approx(products[1], abs=1e-6) != pytest.approx(products[2], abs=0.1)
    assert products[0] == pytest.approx(math.cos(1.2 - 0.4 - math.atan2(0.28, 0.96)), abs=1e-6)
    assert products[0] == pytest.approx(0.870, abs=6e-4)


def test_the_ring_of_the_picture_is_that_of_the_lesson():
    assert demo_rotation_and_ring.slots_after(3) == [0, 0, 1, 2, None]
    assert demo_rotation_and_ring.slots_after(6) == [0, 4, 5, 2, 3]  # sink, then slots 0 to 3
