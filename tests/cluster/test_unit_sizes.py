from cellseg.cluster.unit_sizes import UnitSizes


def test_sizes_when_batches_are_slow_then_parts_take_about_a_minute() -> None:
    sizes = UnitSizes()
    assert sizes.most_batches_of_part(10_000, 2) == 16  # nothing is known yet
    for _ in range(20):
        sizes.add(10, 20.0)
    assert sizes.most_batches_of_part(10_000, 2) == 30
    assert sizes.most_batches_alone(100, 2) == 60


def test_sizes_when_a_machine_changes_then_they_follow() -> None:
    sizes = UnitSizes()
    sizes.add(10, 20.0)
    for _ in range(60):
        sizes.add(10, 5.0)
    assert 110 <= sizes.most_batches_of_part(10_000, 2) <= 120


def test_sizes_when_images_are_few_then_workers_share_one() -> None:
    sizes = UnitSizes()
    sizes.add(100, 10.0)
    assert sizes.most_batches_alone(1, 8) == 32
    assert sizes.most_batches_of_part(80, 8) == 5


def test_sizes_when_one_batch_takes_minutes_then_units_are_one_batch() -> None:
    sizes = UnitSizes()
    sizes.add(1, 500.0)
    assert sizes.most_batches_alone(9, 2) == 1
    assert sizes.most_batches_of_part(9, 2) == 1
