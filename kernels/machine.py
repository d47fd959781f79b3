"""What the schedules want to know of the machine: cores, caches and bandwidth."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_KILO, _MEGA = 1024, 1024 * 1024


@dataclass(frozen=True)
class Machine:
    """A CPU or a GPU, as a memory hierarchy."""

    kind: str
    """cpu or cuda."""
    name: str
    cores: int
    """Cores, or streaming multiprocessors."""
    private_cache: int
    """Bytes of cache (a GPU: shared memory) that one core has for itself."""
    shared_cache: int
    """Bytes of the last cache before memory."""
    bandwidth: float
    """Bytes a second from memory, as far as the system tells; 0 where it does not."""

    @classmethod
    def here(cls, device: str = "cpu") -> "Machine":
        """The machine that runs this; ``device`` is cpu or cuda."""
        return _gpu() if device.startswith("cuda") else _cpu()


@lru_cache(maxsize=1)
def _gpu() -> Machine:
    import torch

    p = torch.cuda.get_device_properties(torch.cuda.current_device())
    clock, bus = getattr(p, "memory_clock_rate", 0), getattr(p, "memory_bus_width", 0)
    shared = getattr(p, "shared_memory_per_block_optin", 48 * _KILO)
    return Machine("cuda", p.name, p.multi_processor_count, int(shared), int(p.L2_cache_size), 2e3 * clock * bus / 8)


@lru_cache(maxsize=1)
def _cpu() -> Machine:
    import torch

    caches: dict[int, int] = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            if (index / "type").read_text().strip() != "Instruction":
                caches[int((index / "level").read_text())] = _bytes((index / "size").read_text())
        except (OSError, ValueError):
            continue
    return Machine("cpu", "CPU", torch.get_num_threads(), caches.get(2, _MEGA), caches.get(3, 8 * _MEGA), 0.0)


def _bytes(text: str) -> int:
    """``2048K`` -> 2097152."""
    text = text.strip()
    factor = {"K": _KILO, "M": _MEGA, "G": _MEGA * _KILO}.get(text[-1:], 1)
    return int(text.rstrip("KMG")) * factor
