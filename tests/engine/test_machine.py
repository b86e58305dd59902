"""What a machine gets for training."""

import pytest

from cellseg.engine.machine import Machine, look_at_machine


@pytest.mark.parametrize(
    ("machine", "batch", "workers", "steps"),
    [
        (Machine("cpu", "X", 1, None), 4, 0, 200),
        (Machine("cpu", "X", 8, 16.0), 4, 1, 200),
        (Machine("cpu", "X", 8, 3.0), 2, 1, 200),
        (Machine("cuda", "G", 16, 24.0), 8, 4, 500),
        (Machine("cuda", "G", 2, 4.0), 2, 1, 500),
        (Machine("mps", "M", 8, 16.0), 4, 4, 200),
    ],
)
def test_choice_always_follows_device_cores_and_memory(machine, batch, workers, steps):
    assert (machine.batch_size, machine.num_workers, machine.num_steps) == (batch, workers, steps)


def test_texts_always_name_what_was_found():
    small = Machine("cpu", "Processor X", 1, 3.0)
    assert small.describe() == "CPU with 1 core (Processor X), 3 GB of memory"
    assert "3 GB" in small.explain_batch()
    assert "one core" in small.explain_workers()
    assert "Card Y" in Machine("cuda", "Card Y", 4, 24.0).explain_batch()


def test_machine_when_looked_at_then_is_this_one():
    machine = look_at_machine()
    assert machine.cores >= 1
    assert machine.name
