"""A schedule that begins late: for editing on from a picture that is hidden in some noise."""

from typing import Any

from diffusers import DDIMScheduler


class PartialDDIM(DDIMScheduler):  # type: ignore[misc]
    """DDIM (Song et al. 2021) without its first ``skip`` steps."""

    skip: int = 0

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """See `DDIMScheduler`."""
        super().set_timesteps(num_inference_steps, device)
        self.timesteps = self.timesteps[self.skip :]  # type: ignore[has-type]
