"""For testing programs that use Vidu: a simulated service, and a clock that need not be waited for."""

from vidu_async.testing.clock import VirtualClockLoop, run_virtual
from vidu_async.testing.intercept import DROP, DROP_AFTER, Reply
from vidu_async.testing.simulator import Simulator
from vidu_async.testing.threaded import run_in_thread

__all__ = ["DROP", "DROP_AFTER", "Reply", "Simulator", "VirtualClockLoop", "run_in_thread", "run_virtual"]
