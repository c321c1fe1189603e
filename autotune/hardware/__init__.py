"""What this machine is: its inventory, its software, and what an hour of it costs."""

from autotune.hardware.environment import environment
from autotune.hardware.host import inventory, may_have_gpu, merge_hosts

__all__ = ["environment", "inventory", "may_have_gpu", "merge_hosts"]
