"""The hardware and software of this host."""

from autotune.hardware.environment import environment
from autotune.hardware.host import int8_saturates, inventory, may_have_gpu, merge_hosts

__all__ = ["environment", "int8_saturates", "inventory", "may_have_gpu", "merge_hosts"]
