"""The hardware and software of this host."""

from autotune.hardware.environment import environment
from autotune.hardware.host import inventory, may_have_gpu, merge_hosts

__all__ = ["environment", "inventory", "may_have_gpu", "merge_hosts"]
