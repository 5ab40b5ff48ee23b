"""What processes hold on GPUs, as NVML tells it."""

from greenbench.machine.gpus import memory_of

UUIDS = ("GPU-19191919-0000-1111-2222-333333333333", "GPU-20202020-0000-1111-2222-333333333333")


def test_a_servers_memory_is_that_of_all_its_processes_on_all_gpus(fake_nvml):
    first, second = (f"device {uuid}\npower 100\ntick 0.1\n" for uuid in UUIDS)
    fake_nvml(
        f"{first}process 11 1000\nprocess 12 500\n{second}process 11 30\nprocess 77 9\nmps_client 78 6\n"
    )
    assert memory_of({11, 12}) == 1530
    assert memory_of({78}) == 6  # through a server of NVIDIA's Multi-Process Service
    assert memory_of({77}) == 9
    assert memory_of({99}) is None  # it holds none, or NVML names it otherwise


def test_where_no_nvml_is_nothing_is_told(monkeypatch):
    def none(*_):
        raise OSError("no such library")

    monkeypatch.setattr("ctypes.CDLL", none)
    assert memory_of({11}) is None
